// Q2_K: superblocks of 256, a scale and a min every 16. `d * scale * q - dmin * min`.
// Plane 0: 2 words of bit pairs a block. Plane 1: sixteen bytes a superblock, scale in
// the low nibble, min in the high. Plane 3: the halves `d, dmin` a superblock.
struct Block { q: vec2<u32>, d: vec2<f32>, m: vec2<f32> }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
    let pair = w1[params.plane_1 + at / 2u] >> (16u * (at & 1u));
    let s = vec2<u32>(byte(pair, 0u), byte(pair, 1u));
    let d = unpack2x16float(w1[params.plane_3 + at / 8u]);
    var b: Block;
    b.q = vec2<u32>(w1[2u * at], w1[2u * at + 1u]);
    b.d = d.x * vec2<f32>(s & vec2<u32>(15u));
    b.m = d.y * vec2<f32>(s >> vec2<u32>(4u));
    return b;
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> {
    let q = quad(b.q[$i / 4], u32($i % 4) * 2u, 3u);
    return b.d[$i / 4] * vec4<f32>(q) - b.m[$i / 4];
}
#end
