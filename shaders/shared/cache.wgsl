// A layer's keys and values: `[slots, n_kv_heads, HEAD_VECTORS]` vectors of four words.
// A head's elements are padded with zeros to whole vectors: eight halves a vector, or
// four floats (CACHE_F32). Halves are packed by hand, so no adapter needs f16.

#ifdef CACHE_F32
fn unpacked(v: vec4<u32>) -> array<vec4<f32>, 1> {
    return array<vec4<f32>, 1>(bitcast<vec4<f32>>(v));
}
#else
fn unpacked(v: vec4<u32>) -> array<vec4<f32>, 2> {
    return array<vec4<f32>, 2>(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
    );
}
#endif
