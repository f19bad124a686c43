// Looks at every token of a long vocabulary before `sample`: a workgroup takes a row's
// SCAN_CHUNK tokens, a thread every 256th of them, and leaves each thread's highest score
// and, of the chunk: the highest score and its token, the mass of all (of the highest's),
// how many logits are no numbers, and the highest score with noise and its token, which
// is all there is to know where nothing is filtered.
#import params
#import state
#import contest
#import scores
#import noise
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_vocab]
@group(0) @binding(2) var<storage, read> logits: array<f32>;
// [rows, ceil(n_vocab / 32)]: a bit a token, if `is_masked()`.
@group(0) @binding(4) var<storage, read> masks: array<u32>;
// [rows, n_chunks * WIDTH groups, then n_chunks * SCAN_STATS]
@group(0) @binding(5) var<storage, read_write> scan: array<u32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let chunk = workgroup.x;
    let row = workgroup.y;
    let first = chunk * $SCAN_CHUNK + thread;
    var highest = LOWEST;
    var id = NO_TOKEN;
    var n_nan = 0.0;
    for (var j = 0u; j < $SCAN_EACH; j++) {
        let token = first + j * WIDTH;
        if (token < params.n_vocab) {
            let score = score_of(row, token);
            if (score > highest || id == NO_TOKEN) {
                highest = score;
                id = token;
            }
            n_nan += select(0.0, 1.0, is_nan(logits[row * params.n_vocab + token]));
        }
    }
    let groups = row * n_workgroups.x * (WIDTH + $SCAN_STATS);
    scan[groups + chunk * WIDTH + thread] = bitcast<u32>(highest);
    let best = best_of(highest, id, thread);
    let nans = sum_of(n_nan, thread);

    var mass = 0.0;
    for (var j = 0u; j < $SCAN_EACH; j++) {
        let token = first + j * WIDTH;
        if (token < params.n_vocab) {
            let score = score_of(row, token);
            mass += select(0.0, exp(score - best.score), score > LOWEST);
        }
    }
    let whole = sum_of(mass, thread);

    var noisiest = LOWEST;
    var noisiest_id = best.id;
    if (!is_greedy() && is_unfiltered()) {
        for (var j = 0u; j < $SCAN_EACH; j++) {
            let token = first + j * WIDTH;
            if (token < params.n_vocab) {
                let score = score_of(row, token);
                let noisy = score + gumbel(seed(), place_of(row), token);
                if (score > LOWEST && noisy > noisiest) {
                    noisiest = noisy;
                    noisiest_id = token;
                }
            }
        }
    }
    let winner = best_of(noisiest, noisiest_id, thread);
    if (thread == 0u) {
        let to = groups + n_workgroups.x * WIDTH + chunk * $SCAN_STATS;
        scan[to] = bitcast<u32>(best.score);
        scan[to + 1u] = best.id;
        scan[to + 2u] = bitcast<u32>(whole);
        scan[to + 3u] = bitcast<u32>(nans);
        scan[to + 4u] = bitcast<u32>(winner.score);
        scan[to + 5u] = winner.id;
    }
}
