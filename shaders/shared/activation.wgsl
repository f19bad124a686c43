#import softcap

// The gate's non-linearity: SiLU, or one of the GELUs (GELU_TANH, GELU_ERF).
fn activate(x: f32) -> f32 {
#ifdef GELU_TANH
    // Hendrycks and Gimpel, arXiv 1606.08415; the constant is sqrt(2 / pi).
    return 0.5 * x * (1.0 + tanh_of(0.7978845608 * (x + 0.044715 * x * x * x)));
#else
#ifdef GELU_ERF
    // erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
    let z = abs(x) * 0.7071067812;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let erf = 1.0 - poly * exp(-z * z);
    return 0.5 * x * (1.0 + sign(x) * erf);
#else
    // The bound keeps exp finite; below it the result is zero to every digit.
    return x / (1.0 + exp(-max(x, -80.0)));
#endif
#endif
}
