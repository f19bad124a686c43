// What is told of a row: the drawn token's log-probability and the likeliest tokens with
// theirs, the model's own. A workgroup a row; a thread takes every 256th token.
#import params
#import state
#import contest
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_vocab]
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> drawn: array<u32>;
// [rows, 1 + 2 n_top()]: the drawn token's, then tokens and theirs, likelier first.
@group(0) @binding(4) var<storage, read_write> told: array<u32>;

// Whether a token comes after another in the order of likelihood.
fn is_after(score: f32, id: u32, other: Best) -> bool {
    return score < other.score || (score == other.score && id > other.id);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    let first = row * params.n_vocab;
    let to = row * (1u + 2u * n_top());
    var mine = Best(LOWEST, NO_TOKEN);
    for (var i = thread; i < params.n_vocab; i += WIDTH) {
        if (logits[first + i] > mine.score) {
            mine = Best(logits[first + i], i);
        }
    }
    let highest = best_of(mine.score, mine.id, thread).score;
    var mass = 0.0;
    for (var i = thread; i < params.n_vocab; i += WIDTH) {
        mass += exp(logits[first + i] - highest);
    }
    let all = highest + log(sum_of(mass, thread));
    if (thread == 0u) {
        let id = min(drawn[first_drawn() + row], params.n_vocab - 1u);
        told[to] = bitcast<u32>(logits[first + id] - all);
    }
    for (var n = 0u; n < n_top(); n++) {
        let next = best_of(mine.score, mine.id, thread);
        if (thread == 0u) {
            told[to + 1u + 2u * n] = next.id;
            told[to + 2u + 2u * n] = bitcast<u32>(next.score - all);
        }
        // Who had it needs another: all look for it together.
        let owner = next.id % WIDTH;
        var other = Best(LOWEST, NO_TOKEN);
        for (var i = owner + WIDTH * thread; i < params.n_vocab; i += WIDTH * WIDTH) {
            let score = logits[first + i];
            if (score > other.score && is_after(score, i, next)) {
                other = Best(score, i);
            }
        }
        other = best_of(other.score, other.id, thread);
        if (thread == owner) {
            mine = other;
        }
    }
}
