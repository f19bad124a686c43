//! Functions of `f32` with the same bits on every target.
//!
//! A platform's own differ in their last bit, so a reply in a browser could part from
//! the same reply elsewhere. Here every step is one IEEE operation, rounded once, in a
//! fixed order; nothing branches in [`exp`], so loops over it become vectors.

/// Added to and taken from an `f32`, leaves it rounded to an integer, ties to even.
const ROUND: f32 = 12_582_912.0;

/// The same for `f64`.
const ROUND_F64: f64 = 6_755_399_441_055_744.0;

/// `2^n`, for the exponents of normal numbers; anything for others.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `e^x`, within an ulp or so. NaN stays NaN.
///
/// `x = n ln 2 + r`, and of `e^r` the polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// The high bits of ln 2, few enough for a product with `n` to be exact, and the rest.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Beyond, the result is zero or infinite anyway.
    let x = x.clamp(-105.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    // In two steps: 2^n alone may be too large or too small for a float. NaN has any n.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n - half)
}

/// `tanh(x)`, within two ulps or so; as Cephes' `tanhf`.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let far = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    let z = x * x;
    let mut p = -5.704_989e-3;
    p = p * z + 2.063_908_8e-2;
    p = p * z - 5.373_971_5e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328e-1;
    let near = p * z * x + x;
    // Zero keeps its sign.
    (if a < 0.625 { near } else { far }).copysign(x)
}

/// Cosine and sine of an angle in radians of up to a few millions, rounded to `f32`.
pub fn cos_sin(x: f32) -> (f32, f32) {
    /// The high bits of pi / 2, few enough for a product with `n` to be exact, and the rest.
    const HALF_PI: [f64; 2] = [1.570_796_326_734_125_6, 6.077_100_506_506_192e-11];
    let x = f64::from(x);
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUND_F64;
    let n = shifted - ROUND_F64;
    let r = x - n * HALF_PI[0] - n * HALF_PI[1];
    // Taylor's series: for |r| <= pi / 4 what is left out is below 1e-15.
    let z = r * r;
    let (mut cos, mut sin) = (1.0, 1.0);
    for k in (1..=8).rev() {
        let k = f64::from(2 * k);
        cos = 1.0 - z / ((k - 1.0) * k) * cos;
        sin = 1.0 - z / (k * (k + 1.0)) * sin;
    }
    let (cos, sin) = (cos as f32, (r * sin) as f32);
    match shifted.to_bits() & 3 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// `e^x` of an `f64`, for `x <= 0`, within a few ulps: Taylor's series of `e^r`, where
/// `x = n ln 2 + r`.
fn exp_f64(x: f64) -> f64 {
    let n = (x * std::f64::consts::LOG2_E + ROUND_F64) - ROUND_F64;
    let r = x - n * 6.931_471_803_691_238e-1 - n * 1.908_214_929_270_587_7e-10;
    let mut sum = 1.0;
    for k in (1..=14).rev() {
        sum = 1.0 + r / f64::from(k) * sum;
    }
    if n < -1022.0 {
        return 0.0;
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// The error function, to about 1e-7: its Maclaurin series near zero, and the
/// continued fraction of its complement beyond (Abramowitz and Stegun 7.1.6, 7.1.14).
pub fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    let a = x.abs();
    let magnitude = if a < 2.5 {
        // 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!
        let (mut term, mut sum) = (a, a);
        for n in 1..60 {
            term *= 2.0 * a * a / f64::from(2 * n + 1);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * exp_f64(-a * a) * sum
    } else {
        // erfc(x) = e^(-x^2)/sqrt(pi) * 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...))))
        let mut fraction = a;
        for n in (1..60).rev() {
            fraction = a + f64::from(n) / 2.0 / fraction;
        }
        1.0 - exp_f64(-a * a) * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / fraction
    };
    magnitude.copysign(x) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    // The runner of tests in a browser knows only its own.
    #[cfg(target_feature = "simd128")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// In units of the last place of `want`.
    fn ulps(found: f32, want: f64) -> f64 {
        let last = f64::from((want as f32).abs().max(f32::MIN_POSITIVE)) * 2f64.powi(-23);
        (f64::from(found) - want).abs() / last
    }

    #[test]
    fn they_are_right_within_two_units() {
        let mut worst = [0f64; 4];
        for i in -1_040_000..=885_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x);
            worst[0] = worst[0].max(ulps(exp(x), exact.exp()));
            worst[1] = worst[1].max(ulps(tanh(x), exact.tanh()));
            let (cos, sin) = cos_sin(x * 1000.0);
            let angle = f64::from(x * 1000.0);
            worst[2] = worst[2].max((f64::from(cos) - angle.cos()).abs());
            worst[3] = worst[3].max((f64::from(sin) - angle.sin()).abs());
        }
        assert!(worst[0] < 2.0 && worst[1] < 2.0, "{worst:?}");
        assert!(worst[2] < 6e-8 && worst[3] < 6e-8, "{worst:?}");
    }

    #[test]
    fn the_ends_are_as_they_should_be() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!(exp(-103.9), 1e-45);
        assert_eq!([tanh(0.0), tanh(50.0), tanh(-1e30)], [0.0, 1.0, -1.0]);
        assert!(tanh(-0.0).is_sign_negative());
        assert_eq!(cos_sin(0.0), (1.0, 0.0));
        assert_eq!(exp_f64(0.0), 1.0);
        assert_eq!(exp_f64(-900.0), 0.0);
    }

    /// So that no target's arithmetic goes unnoticed: the sum of the bits of many
    /// results, as they were first computed on x86-64.
    #[test]
    fn the_bits_are_the_same_everywhere() {
        let mut sums = [0u32; 4];
        for i in 0..20_000u32 {
            let x = (i as f32 - 10_000.0) * 7.7e-3;
            let (cos, sin) = cos_sin(x * 900.0);
            for (sum, y) in sums.iter_mut().zip([exp(x), tanh(x), cos, sin]) {
                *sum = sum
                    .rotate_left(5)
                    .wrapping_mul(31)
                    .wrapping_add(y.to_bits());
            }
        }
        assert_eq!(
            sums,
            [326_824_475, 2_208_898_940, 113_068_101, 3_911_818_512]
        );
    }
}
