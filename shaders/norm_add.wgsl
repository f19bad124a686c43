// residual[r] += scale * norm(x[r]): for blocks that norm their output. A workgroup a row.
#import params
@group(0) @binding(0) var<uniform> params: Params;
// [rows, stride]
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [n]
@group(0) @binding(2) var<storage, read> norm: array<f32>;
// [rows, stride]
@group(0) @binding(3) var<storage, read_write> residual: array<f32>;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y * params.stride;
    var squares = 0.0;
    for (var i = thread; i < params.n; i += 64u) {
        let v = x[row + i];
        squares += v * v;
    }
    sums[thread] = squares;
    workgroupBarrier();
    for (var h = 1u; h < 64u; h *= 2u) {
        if ((thread & (2u * h - 1u)) == 0u) {
            sums[thread] += sums[thread + h];
        }
        workgroupBarrier();
    }
    let factor = params.scale / sqrt(sums[0] / f32(params.n) + params.eps);
    for (var i = thread; i < params.n; i += 64u) {
        residual[row + i] += factor * x[row + i] * norm[i];
    }
}
