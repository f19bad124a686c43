// out[r] = table[token[r]] * scale. A table that is split across buffers takes one
// dispatch a segment; each writes the rows whose tokens it holds.
#import params
#import tokens
#import weights
#import format
@group(0) @binding(0) var<uniform> params: Params;
// [rows, 8 * n_blocks] vectors
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> drawn: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    // Wraps far past the end for tokens of earlier segments, and is there for no token.
    let entry = token(row) - params.first_out;
    let k = workgroup.x * 64u + thread;
    if (entry >= params.n_out || k >= params.n_blocks) {
        return;
    }
    let block = load_block(entry, k);
    let to = (row * params.n_blocks + k) * 8u;
#for i in 0..8
    out[to + $i] = params.scale * block_weights_$i(block);
#end
}
