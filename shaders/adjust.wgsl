// Changes the logits of tokens that have a bias or a past, in place and before they are
// drawn from: bias, then the penalties for what was said, as `decode/sampling.rs` has
// them. Guesses before a row count as said, wherever they came from. With RESTORE the
// logits become what they were.
//
// A thread a token and row: those of the list, then the guesses that are not in it.
#import params
#import tokens
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_vocab]
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
// A round's draws; a draft's guesses stand at DRAWN_GUESSES.
@group(0) @binding(3) var<storage, read> drawn: array<u32>;
// How many tokens are changed, the inverse of the repetition penalty, the penalty,
// frequency, presence, whether there are any; from CHANGES_FIRST on three words a token,
// ascending: itself, its bias, how often the reply holds it (and bit 31: it was said).
@group(0) @binding(4) var<storage, read> changes: array<u32>;
// [rows, MAX_CHANGES]: logits as they were.
@group(0) @binding(5) var<storage, read_write> saved: array<f32>;

fn guess_before(k: u32) -> u32 {
    if (n_guessed() > 0u) {
        return drawn[$DRAWN_GUESSES + k];
    }
    return token(first_logits_row() + 1u + k);
}

fn is_listed(id: u32) -> bool {
    var low = 0u;
    var high = changes[0];
    while (low < high) {
        let middle = (low + high) / 2u;
        let there = changes[$CHANGES_FIRST + 3u * middle];
        if (there == id) {
            return true;
        }
        if (there < id) { low = middle + 1u; } else { high = middle; }
    }
    return false;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let row = thread.y;
    let n_listed = changes[0];
    // Draws of a draft's step know all guesses before it; a target's row those before it.
    var n_before = n_guessed() + row;
    if (changes[5] == 0u) {
        n_before = 0u;
    }
    if (thread.x >= n_listed + n_before) {
        return;
    }
    var id = 0u;
    var bias = 0.0;
    var said = false;
    var count = 0u;
    if (thread.x < n_listed) {
        let at = $CHANGES_FIRST + 3u * thread.x;
        id = changes[at];
        bias = bitcast<f32>(changes[at + 1u]);
        count = changes[at + 2u] & 0x7fffffffu;
        said = (changes[at + 2u] >> 31u) != 0u;
    } else {
        let own = thread.x - n_listed;
        id = guess_before(own);
        // One thread for each.
        for (var k = 0u; k < own; k++) {
            if (guess_before(k) == id) {
                return;
            }
        }
        if (is_listed(id)) {
            return;
        }
    }
    if (id >= params.n_vocab) {
        return;
    }
    let at = row * params.n_vocab + id;
    let keep = row * $MAX_CHANGES + thread.x;
#ifdef RESTORE
    logits[at] = saved[keep];
#else
    for (var k = 0u; k < n_before; k++) {
        count += select(0u, 1u, guess_before(k) == id);
    }
    saved[keep] = logits[at];
    var score = logits[at] + bias;
    if (changes[5] != 0u) {
        if (said || count > 0u) {
            score *= bitcast<f32>(changes[select(2u, 1u, score > 0.0)]);
        }
        if (count > 0u) {
            score -= bitcast<f32>(changes[3]) * f32(count) + bitcast<f32>(changes[4]);
        }
    }
    logits[at] = score;
#endif
}
