// F32. Plane 0: 32 words a block.
struct Block { at: u32 }

fn load_block(row: u32, k: u32) -> Block {
    return Block((row * params.n_blocks + k) * 8u);
}

#for i in 0..8
fn block_weights_$i(b: Block) -> vec4<f32> { return bitcast<vec4<f32>>(w4[b.at + $i]); }
#end
