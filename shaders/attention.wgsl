// softmax(mask(cap(q k^T * scale))) v over the layer's cache.
//
// A workgroup takes one row and up to HEADS query heads that share a key head, so each
// key and value is read once for all of them. It walks the positions the row sees in
// chunks of 64 that begin at multiples of 64: a thread a key for the scores, then eight
// or so lanes of threads down the values. Chunks are merged in order with a running
// maximum (online softmax, arXiv 1805.02867). Which chunks there are, and every order of
// summation, depends on the row's own position alone.
//
// With SPLIT, workgroup z takes CHUNKS of them and leaves a partial result for
// `attention_merge`; without, a workgroup takes all and writes the output.
#import params
#import state
#import cache
#import softcap
@group(0) @binding(0) var<uniform> params: Params;
// [rows, qkv_stride]: rotated queries first.
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
#ifdef SPLIT
// [rows, n_heads, n_splits, Q_VECTORS + 1]: unnormalised output, then (maximum, sum).
@group(0) @binding(3) var<storage, read_write> splits: array<vec4<f32>>;
#else
// [rows, out_stride]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#endif
@group(1) @binding(0) var<storage, read> k_cache: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> v_cache: array<vec4<u32>>;

const THREADS: u32 = 64u;
// Stands for minus infinity, which WGSL does not promise to keep.
const LOWEST: f32 = -1e30;
// Vectors of four elements a query head, padded as the cache is; a cache vector holds
// WIDE of them.
const Q_VECTORS: u32 = $HEAD_VECTORS * $PER_VECTOR / 4;
const WIDE: u32 = $PER_VECTOR / 4;
// Threads a value takes, and values read at once.
const V_LANES: u32 = $HEAD_VECTORS;
const V_GROUPS: u32 = THREADS / V_LANES;

// [HEADS, Q_VECTORS]
var<workgroup> q: array<vec4<f32>, $HEADS * Q_VECTORS>;
// [HEADS, 64]: scores, then weights.
var<workgroup> weights: array<f32, $HEADS * THREADS>;
var<workgroup> scratch: array<f32, $HEADS * THREADS>;
// [V_GROUPS, Q_VECTORS]
var<workgroup> values: array<vec4<f32>, V_GROUPS * Q_VECTORS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    // Query heads that share a key head, in tiles of HEADS.
    let shared_by = params.n_heads / params.n_kv_heads;
    let tiles = (shared_by + $HEADS - 1u) / $HEADS;
    let kv_head = workgroup.x / tiles;
    let tile = workgroup.x % tiles * $HEADS;
    let first_head = kv_head * shared_by + tile;
    let n_heads = min($HEADS, shared_by - tile);

    // Positions first_seen..end, in chunks first_chunk..last_chunk.
    let end = position(row) + 1u;
    let first_seen = end - min(end, params.window);
    var first_chunk = first_seen / THREADS;
    var last_chunk = (end + THREADS - 1u) / THREADS;
#ifdef SPLIT
    first_chunk = max(first_chunk, workgroup.z * $CHUNKS);
    last_chunk = min(last_chunk, (workgroup.z + 1u) * $CHUNKS);
    if (first_chunk >= last_chunk) {
        return;
    }
#endif

    for (var i = thread; i < $HEADS * Q_VECTORS; i += THREADS) {
        var v = vec4<f32>();
        let h = i / Q_VECTORS;
        let at = row * params.qkv_stride + (first_head + h) * $HEAD_DIM;
#for j in 0..4
        {
            let e = i % Q_VECTORS * 4u + $j;
            if (h < n_heads && e < $HEAD_DIM) { v[$j] = qkv[at + e]; }
        }
#end
        q[i] = v;
    }
    workgroupBarrier();

    // Of each head; the same in every thread.
    var running_max: array<f32, $HEADS>;
    var running_sum: array<f32, $HEADS>;
    // Elements 4 thread .. 4 thread + 4 of each head's output.
    var output: array<vec4<f32>, $HEADS>;
#for h in 0..HEADS
    running_max[$h] = LOWEST;
#end

    for (var chunk = first_chunk; chunk < last_chunk; chunk++) {
        let first = chunk * THREADS;
        let p = first + thread;
        let seen = p >= first_seen && p < end;
        var score: array<f32, $HEADS>;
        if (seen) {
            let at = (slot_of(row, p) * params.n_kv_heads + kv_head) * $HEAD_VECTORS;
            for (var i = 0u; i < $HEAD_VECTORS; i++) {
                let k = unpacked(k_cache[at + i]);
#for w in 0..WIDE
#for h in 0..HEADS
                score[$h] += dot(q[$h * Q_VECTORS + i * WIDE + $w], k[$w]);
#end
#end
            }
        }
#for h in 0..HEADS
        score[$h] = select(LOWEST, softcapped(score[$h] * params.scale, params.softcap), seen);
        scratch[$h * THREADS + thread] = score[$h];
#end
        workgroupBarrier();
        for (var n = 1u; n < THREADS; n *= 2u) {
            if ((thread & (2u * n - 1u)) == 0u) {
#for h in 0..HEADS
                {
                    let at = $h * THREADS + thread;
                    scratch[at] = max(scratch[at], scratch[at + n]);
                }
#end
            }
            workgroupBarrier();
        }
        var chunk_max: array<f32, $HEADS>;
#for h in 0..HEADS
        chunk_max[$h] = scratch[$h * THREADS];
#end
        workgroupBarrier();
#for h in 0..HEADS
        {
            let weight = select(0.0, exp(score[$h] - chunk_max[$h]), seen);
            weights[$h * THREADS + thread] = weight;
            scratch[$h * THREADS + thread] = weight;
        }
#end
        workgroupBarrier();
        for (var n = 1u; n < THREADS; n *= 2u) {
            if ((thread & (2u * n - 1u)) == 0u) {
#for h in 0..HEADS
                scratch[$h * THREADS + thread] += scratch[$h * THREADS + thread + n];
#end
            }
            workgroupBarrier();
        }

        // Values: thread (group, lane) adds up every V_GROUPS-th value's vector `lane`.
        var sum: array<vec4<f32>, $HEADS * $WIDE>;
        let lane = thread % V_LANES;
        let group = thread / V_LANES;
        let from_seen = max(first_seen, first) - first;
        let to_seen = min(end - first, THREADS);
        if (group < V_GROUPS) {
            for (var j = group; j < to_seen; j += V_GROUPS) {
                if (j >= from_seen) {
                    let slot = slot_of(row, first + j);
                    let v = unpacked(v_cache[(slot * params.n_kv_heads + kv_head) * $HEAD_VECTORS + lane]);
#for h in 0..HEADS
                    {
                        let weight = weights[$h * THREADS + j];
#for w in 0..WIDE
                        sum[$h * $WIDE + $w] += weight * v[$w];
#end
                    }
#end
                }
            }
        }
#for h in 0..HEADS
        if (group < V_GROUPS) {
#for w in 0..WIDE
            values[group * Q_VECTORS + lane * WIDE + $w] = sum[$h * $WIDE + $w];
#end
        }
        workgroupBarrier();
        {
            let higher = max(running_max[$h], chunk_max[$h]);
            let keep = exp(running_max[$h] - higher);
            let add = exp(chunk_max[$h] - higher);
            running_max[$h] = higher;
            running_sum[$h] = running_sum[$h] * keep + scratch[$h * THREADS] * add;
            if (thread < Q_VECTORS) {
                var all = values[thread];
                for (var g = 1u; g < V_GROUPS; g++) {
                    all += values[g * Q_VECTORS + thread];
                }
                output[$h] = output[$h] * keep + all * add;
            }
        }
        workgroupBarrier();
#end
    }

#for h in 0..HEADS
    if ($h < n_heads && thread < Q_VECTORS) {
        let head = first_head + $h;
#ifdef SPLIT
        let to = ((row * params.n_heads + head) * params.n_splits + workgroup.z) * (Q_VECTORS + 1u);
        splits[to + thread] = output[$h];
        if (thread == 0u) {
            splits[to + Q_VECTORS] = vec4<f32>(running_max[$h], running_sum[$h], 0.0, 0.0);
        }
#else
        let to = row * params.out_stride + head * $HEAD_DIM;
        let v = output[$h] / running_sum[$h];
#for j in 0..4
        if (4u * thread + $j < $HEAD_DIM) { out[to + 4u * thread + $j] = v[$j]; }
#end
#endif
    }
#end
}
