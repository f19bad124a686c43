// tanh from exp, because tanh's own error bound in WGSL is loose and some drivers give
// NaN for large arguments. The error is a few ulp of 1.
fn tanh_of(x: f32) -> f32 {
    let e = exp(2.0 * clamp(x, -10.0, 10.0));
    return 1.0 - 2.0 / (e + 1.0);
}

// `cap * tanh(x / cap)`; a cap of 0 means none.
fn softcapped(x: f32, cap: f32) -> f32 {
    if (cap == 0.0) {
        return x;
    }
    return cap * tanh_of(x / cap);
}
