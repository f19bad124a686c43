// What 256 threads of a workgroup find out together, in one order.

const WIDTH: u32 = 256u;
// Stands for minus infinity, which WGSL does not promise to keep: what scores no more
// cannot be drawn.
const LOWEST: f32 = -1e30;
const NO_TOKEN: u32 = 0xffffffffu;

struct Best { score: f32, id: u32 }

var<workgroup> scores: array<f32, WIDTH>;
var<workgroup> ids: array<u32, WIDTH>;

// The sum of every thread's value, in every thread.
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

// The best of every thread's candidates, in every thread. Ties go to the lowest id.
fn best_of(score: f32, id: u32, thread: u32) -> Best {
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
    return Best(scores[0], ids[0]);
}

// Whether it is no number, by its bits: compilers may take it that a number equals itself.
fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}
