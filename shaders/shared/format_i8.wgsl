// Signed bytes with a scale every 32 (Q8_0; and what is expanded to it). `d * q`.
// Plane 0: 8 words a block. Plane 1: a half a block, or a float (FORMAT_WIDE_SCALE).
struct Block { q0: vec4<u32>, q1: vec4<u32>, d: f32 }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
#ifdef FORMAT_WIDE_SCALE
    let d = bitcast<f32>(w1[params.plane_1 + at]);
#else
    let d = half_at(params.plane_1, at);
#endif
    return Block(w4[at * 2u], w4[at * 2u + 1u], d);
}

fn signed_bytes(word: u32) -> vec4<f32> {
    let high = vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u);
    return vec4<f32>(bitcast<vec4<i32>>(high) >> vec4<u32>(24u));
}

#for i in 0..4
fn block_weights_$i(b: Block) -> vec4<f32> { return b.d * signed_bytes(b.q0[$i]); }
#end
#for i in 4..8
fn block_weights_$i(b: Block) -> vec4<f32> { return b.d * signed_bytes(b.q1[$i - 4]); }
#end
