// Keeps one path of a tree in a layer's cache: moves slot `base + path[i]` to `base + i`.
// The path ascends, so `path[i] >= i` and a thread that goes up it never reads a slot
// that it has written.
#import params
@group(0) @binding(0) var<uniform> params: Params;
// `base`, how many, then the path.
@group(0) @binding(1) var<storage, read> path: array<u32>;
// [slots, width] vectors
@group(1) @binding(0) var<storage, read_write> k_cache: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read_write> v_cache: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.width) {
        return;
    }
    let base = path[0];
    for (var i = 0u; i < path[1]; i++) {
        let source = (base + path[2u + i]) * params.width + id.x;
        let to = (base + i) * params.width + id.x;
        if (source != to) {
            k_cache[to] = k_cache[source];
            v_cache[to] = v_cache[source];
        }
    }
}
