// Nibbles with a scale every 32: Q4_0 and Q5_0 (`d * (q - FORMAT_ZERO)`), Q4_1 and Q5_1
// (`d * q + m`, FORMAT_MIN); the fives have a plane of fifth bits (FORMAT_HIGH).
// Plane 0: 4 words a block, low nibbles first. Plane 1: the half `d` a block, or the
// word `d, m`. Plane 2: a word of fifth bits a block.
struct Block { q: vec4<u32>, high: u32, d: f32, m: f32 }

fn load_block(row: u32, k: u32) -> Block {
    let at = row * params.n_blocks + k;
    var b: Block;
    b.q = w4[at];
#ifdef FORMAT_MIN
    let scale = unpack2x16float(w1[params.plane_1 + at]);
    b.d = scale.x;
    b.m = scale.y;
#else
    b.d = half_at(params.plane_1, at);
#endif
#ifdef FORMAT_HIGH
    b.high = w1[params.plane_2 + at];
#endif
    return b;
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> {
    var q = quad(b.q[$i % 4], u32($i / 4) * 4u, 15u);
#ifdef FORMAT_HIGH
    q |= bits(b.high, u32($i) * 4u) << vec4<u32>(4u);
#endif
#ifdef FORMAT_MIN
    return b.d * vec4<f32>(q) + b.m;
#else
    return b.d * (vec4<f32>(q) - f32($FORMAT_ZERO));
#endif
}
#end
