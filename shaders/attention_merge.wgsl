// Adds up what the splits of `attention` left: a workgroup a row and head, in the order
// of the splits the row sees, with a running maximum as between chunks.
#import params
#import state
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_heads, n_splits, Q_VECTORS + 1]: unnormalised output, then (maximum, sum).
@group(0) @binding(2) var<storage, read> splits: array<vec4<f32>>;
// [rows, out_stride]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const Q_VECTORS: u32 = $HEAD_VECTORS * $PER_VECTOR / 4;
// Positions a split holds.
const SPLIT_LEN: u32 = 64u * $CHUNKS;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    let head = workgroup.x;
    if (thread >= Q_VECTORS) {
        return;
    }
    let end = position(row) + 1u;
    let first_seen = end - min(end, params.window);
    let first_split = first_seen / SPLIT_LEN;
    let last_split = (end + SPLIT_LEN - 1u) / SPLIT_LEN;

    let from_row = (row * params.n_heads + head) * params.n_splits;
    var running_max = -1e30;
    var running_sum = 0.0;
    var output = vec4<f32>();
    for (var s = first_split; s < last_split; s++) {
        let at = (from_row + s) * (Q_VECTORS + 1u);
        let stats = splits[at + Q_VECTORS];
        let higher = max(running_max, stats.x);
        let keep = exp(running_max - higher);
        let add = exp(stats.x - higher);
        running_max = higher;
        running_sum = running_sum * keep + stats.y * add;
        output = output * keep + splits[at + thread] * add;
    }
    let v = output / running_sum;
    let to = row * params.out_stride + head * $HEAD_DIM + 4u * thread;
#for j in 0..4
    if (4u * thread + $j < $HEAD_DIM) { out[to + $j] = v[$j]; }
#end
}
