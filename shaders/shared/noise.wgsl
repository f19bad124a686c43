// The noise that draft and target share: the twin of `decode/noise.rs`, which says why.

fn pcg_step(v: vec4<u32>) -> vec4<u32> {
    return v * 1664525u + 1013904223u;
}

fn pcg_mix(v: vec4<u32>) -> vec4<u32> {
    let x = v.x + v.y * v.w;
    let y = v.y + v.z * x;
    let z = v.z + x * y;
    let w = v.w + y * z;
    return vec4<u32>(x, y, z, w);
}

// PCG4D (Jarzynski and Olano, JCGT 9(3), 2020); its first word.
fn noise_hash(seed: vec2<u32>, position: u32, token: u32) -> u32 {
    let v = pcg_mix(pcg_step(vec4<u32>(token, position, seed.x, seed.y)));
    return pcg_mix(v ^ (v >> vec4<u32>(16u))).x;
}

// Cephes' logf, for positive normal numbers: WGSL's own log is too coarse near 1.
fn noise_ln(value: f32) -> f32 {
    let word = bitcast<u32>(value);
    var exponent = f32(i32(word >> 23u) - 126);
    var m = bitcast<f32>((word & 0x007fffffu) | 0x3f000000u);
    if (m < 0.70710678) {
        exponent -= 1.0;
        m += m;
    }
    m -= 1.0;
    let z = m * m;
    var y = 7.0376836e-2;
    y = y * m - 1.151461e-1;
    y = y * m + 1.1676998e-1;
    y = y * m - 1.2420141e-1;
    y = y * m + 1.4249323e-1;
    y = y * m - 1.6668057e-1;
    y = y * m + 2.0000714e-1;
    y = y * m - 2.4999994e-1;
    y = y * m + 3.333333e-1;
    y = y * m * z;
    y += exponent * -2.1219444e-4;
    y += -0.5 * z;
    return m + y + exponent * 0.6933594;
}

// Standard Gumbel noise.
fn gumbel(seed: vec2<u32>, position: u32, token: u32) -> f32 {
    let v = (f32(noise_hash(seed, position, token)) + 0.5) * 2.3283064365e-10;
    var exponential = 0.0;
    if (v < 0.0625) {
        exponential = v * (1.0 + v * (0.5 + v * (0.33333333 + v * (0.25 + v * (0.2 + v * 0.16666667)))));
    } else {
        exponential = -noise_ln(max(1.0 - v, 1.1641532e-10));
    }
    return -noise_ln(exponential);
}
