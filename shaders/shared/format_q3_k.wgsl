// Q3_K: superblocks of 256, a signed scale every 16. `d * scale * (q - 4)`.
// Plane 0: 2 words of low bit pairs a block. Plane 1: sixteen scale bytes a superblock,
// less their offset of 32. Plane 2: a word of third bits a block. Plane 3: the half `d` a
// superblock.
struct Block { q: vec2<u32>, high: u32, d: vec2<f32> }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
    let scales = w1[params.plane_1 + at / 2u] >> (16u * (at & 1u));
    let d = half_at(params.plane_3, at / 8u);
    var b: Block;
    b.q = vec2<u32>(w1[2u * at], w1[2u * at + 1u]);
    b.high = w1[params.plane_2 + at];
    b.d = d * vec2<f32>(signed_byte(scales, 0u), signed_byte(scales, 1u));
    return b;
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> {
    let low = quad(b.q[$i / 4], u32($i % 4) * 2u, 3u);
    let high = bits(b.high, u32($i) * 4u);
    return b.d[$i / 4] * (vec4<f32>(low | (high << vec4<u32>(2u))) - 4.0);
}
#end
