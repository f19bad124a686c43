// A row of logits -> one token: temperature, top-k, top-p, min-p, then the highest score
// with Gumbel noise; at temperature 0 the highest logit. Ties go to the lowest id. The
// order and the definitions are `decode/sampling.rs`'s.
//
// A workgroup a row. Nothing is sorted: each filter is a lowest score, found by halving
// the range of scores 32 times, and a token is kept if its score reaches the highest of
// them. Tokens that tie at the edge are all kept.
#import params
#import state
#import noise
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_vocab]
@group(0) @binding(2) var<storage, read> logits: array<f32>;
// From `first_drawn()` on, a token a row; NO_TOKEN where a logit is not a number.
@group(0) @binding(3) var<storage, read_write> drawn: array<u32>;

const WIDTH: u32 = 256u;
const LOWEST: f32 = -1e30;
const NO_TOKEN: u32 = 0xffffffffu;

var<workgroup> scores: array<f32, WIDTH>;
var<workgroup> ids: array<u32, WIDTH>;

// Unsigned keys in the order of the scores they stand for.
fn key_of(score: f32) -> u32 {
    let word = bitcast<u32>(score);
    return select(word | 0x80000000u, ~word, (word & 0x80000000u) != 0u);
}

// The sum of every thread's value, in every thread; in one order.
fn sum_of(value: f32, thread: u32) -> f32 {
    workgroupBarrier();
    scores[thread] = value;
    workgroupBarrier();
    for (var h = 1u; h < WIDTH; h *= 2u) {
        if ((thread & (2u * h - 1u)) == 0u) {
            scores[thread] += scores[thread + h];
        }
        workgroupBarrier();
    }
    return scores[0];
}

// The best of every thread's candidates, in every thread.
fn best_of(score: f32, id: u32, thread: u32) -> u32 {
    workgroupBarrier();
    scores[thread] = score;
    ids[thread] = id;
    workgroupBarrier();
    for (var h = 1u; h < WIDTH; h *= 2u) {
        if ((thread & (2u * h - 1u)) == 0u) {
            let other = scores[thread + h];
            let tie = other == scores[thread] && ids[thread + h] < ids[thread];
            if (other > scores[thread] || tie) {
                scores[thread] = other;
                ids[thread] = ids[thread + h];
            }
        }
        workgroupBarrier();
    }
    return ids[0];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = workgroup.y * params.n_vocab;
    // The token is drawn for the place after its row.
    let place = position(first_logits_row() + workgroup.y) + 1u;
    let to = first_drawn() + workgroup.y;
    let greedy = inverse_temperature() == 0.0;
    let scale = select(inverse_temperature(), 1.0, greedy);

    var highest = LOWEST;
    var id = NO_TOKEN;
    var n_nan = 0.0;
    for (var i = thread; i < params.n_vocab; i += WIDTH) {
        let logit = logits[first + i];
        let score = logit * scale;
        if (score > highest || id == NO_TOKEN) {
            highest = score;
            id = i;
        }
        // By its bits: compilers may take it that a number equals itself.
        n_nan += select(0.0, 1.0, (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u);
    }
    let likeliest = best_of(highest, id, thread);
    let bad = sum_of(n_nan, thread) > 0.0;
    // What is told apart here stands in read-only memory: browsers want to see that all
    // threads meet at the barriers below.
    if (greedy) {
        if (thread == 0u) {
            drawn[to] = select(likeliest, NO_TOKEN, bad);
        }
        return;
    }
    let top = logits[first + likeliest] * scale;

    // The lowest key that is kept.
    var floor_key = 0u;
    if (top_k() > 0u && top_k() < params.n_vocab) {
        // The largest key that at least top_k() tokens reach.
        for (var bit = 0x80000000u; bit != 0u; bit >>= 1u) {
            let trial = floor_key | bit;
            var n = 0.0;
            for (var i = thread; i < params.n_vocab; i += WIDTH) {
                n += select(0.0, 1.0, key_of(logits[first + i] * scale) >= trial);
            }
            if (sum_of(n, thread) >= f32(top_k())) {
                floor_key = trial;
            }
        }
    }
    if (top_p() < 1.0) {
        var mass = 0.0;
        for (var i = thread; i < params.n_vocab; i += WIDTH) {
            let score = logits[first + i] * scale;
            mass += select(0.0, exp(score - top), key_of(score) >= floor_key);
        }
        let wanted = top_p() * sum_of(mass, thread);
        // The largest key whose tokens have that mass; the likeliest always stays.
        var reached = 0u;
        for (var bit = 0x80000000u; bit != 0u; bit >>= 1u) {
            let trial = reached | bit;
            var kept = 0.0;
            for (var i = thread; i < params.n_vocab; i += WIDTH) {
                let score = logits[first + i] * scale;
                kept += select(0.0, exp(score - top), key_of(score) >= trial);
            }
            let mass_kept = sum_of(kept, thread);
            if (trial <= key_of(top) && mass_kept >= wanted) {
                reached = trial;
            }
        }
        floor_key = max(floor_key, reached);
    }
    floor_key = max(floor_key, key_of(top + ln_min_p()));

    highest = LOWEST;
    id = likeliest;
    for (var i = thread; i < params.n_vocab; i += WIDTH) {
        let score = logits[first + i] * scale;
        if (key_of(score) >= floor_key) {
            let noisy = score + gumbel(seed(), place, i);
            if (noisy > highest) {
                highest = noisy;
                id = i;
            }
        }
    }
    let winner = best_of(highest, id, thread);
    if (thread == 0u) {
        drawn[to] = select(winner, NO_TOKEN, bad);
    }
}
