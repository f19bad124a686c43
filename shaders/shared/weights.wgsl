// A segment of a weight matrix, as `backend/gpu/weights` packs it: planes one after
// another, each `[n_out, ...]` row-major. The same buffer is bound twice, because
// wide planes are read four words at a time and narrow ones word by word.
@group(0) @binding(2) var<storage, read> w4: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> w1: array<u32>;

// Half `index` of the plane that begins at word `plane`.
fn half_at(plane: u32, index: u32) -> f32 {
    let pair = unpack2x16float(w1[plane + index / 2u]);
    return select(pair.x, pair.y, (index & 1u) == 1u);
}

// One field of each of a word's four bytes.
fn quad(word: u32, shift: u32, mask: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 8u, 16u, 24u) + vec4<u32>(shift))) & vec4<u32>(mask);
}

// Four successive bits, each to its own lane.
fn bits(word: u32, first: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(first))) & vec4<u32>(1u);
}

// Byte `index` of a word, as a signed number.
fn signed_byte(word: u32, index: u32) -> f32 {
    return f32(bitcast<i32>(word << (24u - 8u * index)) >> 24u);
}

// Byte `index` of a word.
fn byte(word: u32, index: u32) -> u32 {
    return (word >> (8u * index)) & 255u;
}
