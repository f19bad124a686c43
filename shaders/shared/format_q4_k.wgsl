// Q4_K and Q5_K (FORMAT_HIGH): superblocks of 256, a scale and a min every 32.
// `d * scale * q - dmin * min`. Plane 0: 4 words of nibbles a block, low ones first.
// Plane 1: 4 words a superblock: `d, dmin` (halves), then twelve bytes of six-bit scales
// and mins as GGML packs them (ggml-quants.c, `get_scale_min_k4`). Plane 2: a word of
// fifth bits a block.
struct Block { q: vec4<u32>, high: u32, d: f32, m: f32 }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
    var b: Block;
    b.q = w4[at];
#ifdef FORMAT_HIGH
    b.high = w1[params.plane_2 + at];
#endif
    let head = w4[params.plane_1 / 4u + at / 8u];
    let d = unpack2x16float(head.x);
    let s = vec3<u32>(byte(head.y, at & 3u), byte(head.z, at & 3u), byte(head.w, at & 3u));
    let late = (at & 4u) != 0u;
    let scale = select(s.x & 63u, (s.z & 15u) | ((s.x >> 6u) << 4u), late);
    let minimum = select(s.y & 63u, (s.z >> 4u) | ((s.y >> 6u) << 4u), late);
    b.d = d.x * f32(scale);
    b.m = d.y * f32(minimum);
    return b;
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> {
    var q = quad(b.q[$i % 4], u32($i / 4) * 4u, 15u);
#ifdef FORMAT_HIGH
    q |= bits(b.high, u32($i) * 4u) << vec4<u32>(4u);
#endif
    return b.d * vec4<f32>(q) - b.m;
}
#end
