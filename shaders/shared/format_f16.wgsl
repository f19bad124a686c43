// F16. Plane 0: 16 words a block, two elements a word.
struct Block { q0: vec4<u32>, q1: vec4<u32>, q2: vec4<u32>, q3: vec4<u32> }

fn load_block(row: u32, k: u32) -> Block {
    let at = (row * params.n_blocks + k) * 4u;
    return Block(w4[at], w4[at + 1u], w4[at + 2u], w4[at + 3u]);
}

fn halves(pair: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn block_weights_0(b: Block) -> vec4<f32> { return halves(b.q0.xy); }
fn block_weights_1(b: Block) -> vec4<f32> { return halves(b.q0.zw); }
fn block_weights_2(b: Block) -> vec4<f32> { return halves(b.q1.xy); }
fn block_weights_3(b: Block) -> vec4<f32> { return halves(b.q1.zw); }
fn block_weights_4(b: Block) -> vec4<f32> { return halves(b.q2.xy); }
fn block_weights_5(b: Block) -> vec4<f32> { return halves(b.q2.zw); }
fn block_weights_6(b: Block) -> vec4<f32> { return halves(b.q3.xy); }
fn block_weights_7(b: Block) -> vec4<f32> { return halves(b.q3.zw); }
