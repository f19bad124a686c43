// Q6_K: superblocks of 256, a signed scale every 16. `d * scale * (q - 32)`.
// Plane 0: 4 words of nibbles a block, low ones first. Plane 1: sixteen scale bytes a
// superblock. Plane 2: 2 words of high bit pairs a block. Plane 3: the half `d` a
// superblock.
struct Block { q: vec4<u32>, high: vec2<u32>, d: vec2<f32> }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
    let scales = w1[params.plane_1 + at / 2u] >> (16u * (at & 1u));
    let d = half_at(params.plane_3, at / 8u);
    var b: Block;
    b.q = w4[at];
    b.high = vec2<u32>(w1[params.plane_2 + 2u * at], w1[params.plane_2 + 2u * at + 1u]);
    b.d = d * vec2<f32>(signed_byte(scales, 0u), signed_byte(scales, 1u));
    return b;
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> {
    let low = quad(b.q[$i % 4], u32($i / 4) * 4u, 15u);
    let high = quad(b.high[$i / 4], u32($i % 4) * 2u, 3u);
    return b.d[$i / 4] * (vec4<f32>(low | (high << vec4<u32>(4u))) - 32.0);
}
#end
