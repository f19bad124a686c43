// Norms (QK_NORM) and rotates queries, in place, and keys; appends keys and values to
// the layer's cache.
//
// A workgroup takes one row and one group of heads: a single head, or, where a norm runs
// over the whole projection, all of queries or all of keys.
#import params
#import state
#import cache
@group(0) @binding(0) var<uniform> params: Params;
// [rows, qkv_stride]: queries, keys, values.
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;
#ifdef ROPE
// Cosine and sine of each pair's angle: for positions 0..256, then for multiples of 256.
// [256 + n, n_rot / 2]
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>;
#endif
#ifdef QK_NORM
// [HEAD_DIM], or [heads * HEAD_DIM] where the norm spans the projection.
@group(0) @binding(4) var<storage, read> q_norm: array<f32>;
@group(0) @binding(5) var<storage, read> k_norm: array<f32>;
#endif
@group(1) @binding(0) var<storage, read_write> k_cache: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read_write> v_cache: array<vec4<u32>>;

const THREADS: u32 = 64u;
const PADDED: u32 = $HEAD_VECTORS * $PER_VECTOR;

var<workgroup> sums: array<f32, 64>;
// The head being worked on, normed but not rotated; zeros past HEAD_DIM.
var<workgroup> head: array<f32, PADDED>;

fn rotated(i: u32, pos: u32) -> f32 {
#ifdef ROPE
    if (i >= params.n_rot) {
        return head[i];
    }
    let pairs = params.n_rot / 2u;
#ifdef INTERLEAVED
    let pair = i / 2u;
    let first = i & ~1u;
    let second = first + 1u;
#else
    let pair = i % pairs;
    let first = pair;
    let second = pair + pairs;
#endif
    // The angle's sum: f32 holds neither large angles nor their sines well.
    let near = angles[(pos % 256u) * pairs + pair];
    let far = angles[(256u + pos / 256u) * pairs + pair];
    let turn = params.magnitude
        * vec2<f32>(far.x * near.x - far.y * near.y, far.y * near.x + far.x * near.y);
    if (i == first) {
        return head[first] * turn.x - head[second] * turn.y;
    }
    return head[second] * turn.x + head[first] * turn.y;
#else
    return head[i];
#endif
}

#ifdef CACHE_F32
fn packed(i: u32, pos: u32, rotate: bool) -> vec4<u32> {
    var v: vec4<f32>;
#for j in 0..4
    if (rotate) { v[$j] = rotated(i + $j, pos); } else { v[$j] = head[i + $j]; }
#end
    return bitcast<vec4<u32>>(v);
}
#else
fn packed(i: u32, pos: u32, rotate: bool) -> vec4<u32> {
    var v: vec4<u32>;
#for j in 0..4
    if (rotate) {
        v[$j] = pack2x16float(vec2<f32>(rotated(i + 2u * $j, pos), rotated(i + 2u * $j + 1u, pos)));
    } else {
        v[$j] = pack2x16float(vec2<f32>(head[i + 2u * $j], head[i + 2u * $j + 1u]));
    }
#end
    return v;
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    let pos = position(row);
    let slot = own_slot(row);
    // Groups stand in the order queries, keys, values.
    let q_groups = params.n_heads / params.q_group;
    let kv_groups = params.n_kv_heads / params.kv_group;
    let is_q = workgroup.x < q_groups;
    let is_k = !is_q && workgroup.x < q_groups + kv_groups;
    var n_heads = params.kv_group;
    var first_head = (workgroup.x - q_groups) % kv_groups * params.kv_group;
    var first = row * params.qkv_stride + (params.n_heads + first_head) * $HEAD_DIM;
    if (is_q) {
        n_heads = params.q_group;
        first_head = workgroup.x * params.q_group;
        first = row * params.qkv_stride + first_head * $HEAD_DIM;
    } else if (!is_k) {
        first += params.n_kv_heads * $HEAD_DIM;
    }

    var factor = 1.0;
#ifdef QK_NORM
    var squares = 0.0;
    for (var i = thread; i < n_heads * $HEAD_DIM; i += THREADS) {
        let v = qkv[first + i];
        squares += v * v;
    }
    sums[thread] = squares;
    workgroupBarrier();
    for (var h = 1u; h < THREADS; h *= 2u) {
        if ((thread & (2u * h - 1u)) == 0u) {
            sums[thread] += sums[thread + h];
        }
        workgroupBarrier();
    }
    let eps = select(params.k_eps, params.q_eps, is_q);
    factor = 1.0 / sqrt(sums[0] / f32(n_heads * $HEAD_DIM) + eps);
#endif

    for (var h = 0u; h < n_heads; h++) {
        let at = first + h * $HEAD_DIM;
        for (var i = thread; i < PADDED; i += THREADS) {
            var v = 0.0;
            if (i < $HEAD_DIM) {
                v = qkv[at + i];
#ifdef QK_NORM
                // A group of one head has that head's norm, whichever head it is.
                let w = h * $HEAD_DIM + i;
                if (is_q) {
                    v *= factor * q_norm[w];
                } else if (is_k) {
                    v *= factor * k_norm[w];
                }
#endif
            }
            head[i] = v;
        }
        workgroupBarrier();
        if (is_q) {
            for (var i = thread; i < $HEAD_DIM; i += THREADS) {
                qkv[at + i] = rotated(i, pos);
            }
        } else {
            let to = (slot * params.n_kv_heads + first_head + h) * $HEAD_VECTORS;
            for (var i = thread; i < $HEAD_VECTORS; i += THREADS) {
                let v = packed(i * $PER_VECTOR, pos, is_k);
                if (is_k) {
                    k_cache[to + i] = v;
                } else {
                    v_cache[to + i] = v;
                }
            }
        }
        workgroupBarrier();
    }
}
