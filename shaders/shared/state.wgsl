// What changes from pass to pass: written before the pass, read by every kernel
// that knows about tokens. The layout is `backend/gpu/state.rs`'s.
@group(0) @binding(1) var<storage, read> state: array<u32>;

// Rows of this pass.
fn n_rows() -> u32 { return state[0]; }
// Tokens in the cache before the call's first row, or before the tree it goes on with; a
// call may take several passes, a tree several calls.
fn cache_len() -> u32 { return state[1]; }
// Rows of the call or tree that earlier passes ran.
fn first_row() -> u32 { return state[2]; }
fn is_tree() -> bool { return state[3] != 0u; }
// Which rows' logits are wanted.
fn first_logits_row() -> u32 { return state[4]; }
fn n_logits_rows() -> u32 { return state[5]; }
// Where in `drawn` the token goes that is drawn from the first of those rows.
fn first_drawn() -> u32 { return state[6]; }
// How to draw it: the inverse temperature (0 is greedy), top-p, the logarithm of min-p,
// top-k, the seed.
fn inverse_temperature() -> f32 { return bitcast<f32>(state[7]); }
fn top_p() -> f32 { return bitcast<f32>(state[8]); }
fn ln_min_p() -> f32 { return bitcast<f32>(state[9]); }
fn top_k() -> u32 { return state[10]; }
fn seed() -> vec2<u32> { return vec2<u32>(state[11], state[12]); }
// Guesses that earlier passes of the round drew, for a pass that draws another.
fn n_guessed() -> u32 { return state[13]; }
// Whether only some tokens may be drawn.
fn is_masked() -> bool { return state[14] != 0u; }
// Of how many of the likeliest tokens the log-probabilities are told.
fn n_top() -> u32 { return state[15]; }
// Where the row stands in the text.
fn position(row: u32) -> u32 { return cache_len() + state[$STATE_ROWS + 2u * row + 1u]; }
// The cache slot the row's key and value go to.
fn own_slot(row: u32) -> u32 { return cache_len() + first_row() + row; }

// The cache slot that holds position `p` of the text that ends with `row`. Attention
// walks positions, not slots, so that a tree's row adds up in the order in which it
// would as part of a chain, and gets the same bits.
fn slot_of(row: u32, p: u32) -> u32 {
    let len = cache_len();
    if (p < len || !is_tree()) {
        return p;
    }
    return len + state[$STATE_PATHS + row * $STATE_PATH_STRIDE + (p - len)];
}
