// A row's scores: its logits over the temperature, and LOWEST for what may not be drawn.
// A kernel that imports this binds `logits` [rows, n_vocab] and `masks`
// [rows, ceil(n_vocab / 32)], and imports `contest`.

fn is_greedy() -> bool { return inverse_temperature() == 0.0; }
fn score_scale() -> f32 { return select(inverse_temperature(), 1.0, is_greedy()); }

fn score_of(row: u32, token: u32) -> f32 {
    if (is_masked()) {
        let word = masks[row * ((params.n_vocab + 31u) / 32u) + token / 32u];
        if (((word >> (token & 31u)) & 1u) == 0u) {
            return LOWEST;
        }
    }
    let logit = logits[row * params.n_vocab + token];
    if (logit <= LOWEST) {
        return LOWEST;
    }
    return logit * score_scale();
}

// Whether top-k is on.
fn cuts_k() -> bool { return top_k() > 0u && top_k() < params.n_vocab; }
// Whether every token that may be drawn stays in the draw.
fn is_unfiltered() -> bool { return !cuts_k() && top_p() >= 1.0 && ln_min_p() <= LOWEST; }

// Where the token stands in the text that is drawn from a row's logits.
fn place_of(row: u32) -> u32 { return position(first_logits_row() + row) + 1u; }
