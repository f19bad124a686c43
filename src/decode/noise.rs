//! Counter-based Gumbel noise: a pure function of seed, position and token.
//!
//! Drawing a token from `softmax(logits / T)` is taking
//! `argmax(logits / T + gumbel(seed, position, token))`. Because the noise does not
//! depend on who asks, draft and target share it, and a draft's guess is right
//! exactly when the target's own draw equals it (Daliri et al., arXiv 2408.07978).
//!
//! Only IEEE additions, multiplications and integer operations are used, so native
//! and wasm agree to the bit; `shaders/shared/noise.wgsl` is the device twin.

/// One hash of four words: PCG4D (Jarzynski and Olano, "Hash Functions for GPU
/// Rendering", JCGT 9(3), 2020). Returns its first word.
pub fn hash(seed: u64, position: u32, token: u32) -> u32 {
    const MUL: u32 = 1_664_525;
    const ADD: u32 = 1_013_904_223;
    let step = |v: u32| v.wrapping_mul(MUL).wrapping_add(ADD);
    let mix = |[mut x, mut y, mut z, mut w]: [u32; 4]| {
        x = x.wrapping_add(y.wrapping_mul(w));
        y = y.wrapping_add(z.wrapping_mul(x));
        z = z.wrapping_add(x.wrapping_mul(y));
        w = w.wrapping_add(y.wrapping_mul(z));
        [x, y, z, w]
    };
    let v = mix([token, position, seed as u32, (seed >> 32) as u32].map(step));
    mix(v.map(|word| word ^ (word >> 16)))[0]
}

/// Standard Gumbel noise: `-ln(-ln(u))` with `u` uniform in (0, 1).
///
/// With `v = 1 - u` small exactly where the noise is large, `-ln(1 - v)` keeps full
/// relative precision in the tail that decides the argmax: about 22 at most, where
/// a 24-bit `u` would stop, in steps, at 17.
pub fn gumbel(seed: u64, position: u32, token: u32) -> f32 {
    let v = (hash(seed, position, token) as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    let exponential = if v < 0.0625 {
        // -ln(1 - v), by its series: the error is under v^6 / 6 < 1e-8 of v.
        v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * (0.25 + v * (0.2 + v * (1.0 / 6.0))))))
    } else {
        // v can round to 1: then the largest exponential that 32 bits can mean.
        -ln((1.0 - v).max(1.164_153_2e-10))
    };
    -ln(exponential)
}

/// A number in (0, 1), for decisions that are not draws of a token.
pub fn uniform(seed: u64, position: u32, salt: u32) -> f64 {
    (f64::from(hash(seed, position, salt)) + 0.5) / 4_294_967_296.0
}

/// Draws from weights that need not sum to one; `None` where none is positive. Ties go
/// to the lowest id.
pub fn draw_from(seed: u64, position: u32, weights: &[(u32, f64)]) -> Option<u32> {
    let score = |&(token, weight): &(u32, f64)| {
        (
            token,
            weight.ln() + f64::from(gumbel(seed, position, token)),
        )
    };
    let positive = weights
        .iter()
        .filter(|(_, weight)| *weight > 0.0)
        .map(score);
    let best = positive.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map(|(token, _)| token)
}

/// Natural logarithm of a positive, normal `x`, within 2 ulp: the polynomial of Cephes'
/// `logf` (S. Moshier), written out so that every target computes the same bits.
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 23) as i32) - 126;
    let mut m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000); // [0.5, 1)
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1;
        m += m;
    }
    m -= 1.0;
    let z = m * m;
    let mut y = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        y = y * m + coefficient;
    }
    y = y * m * z;
    let e = exponent as f32;
    y += e * -2.121_944_4e-4;
    y += -0.5 * z;
    m + y + e * 0.693_359_4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_is_the_logarithm() {
        let mut x = 1e-12_f32;
        while x < 1e6 {
            let (got, want) = (f64::from(ln(x)), f64::from(x).ln());
            assert!(
                (got - want).abs() <= 2e-7 * want.abs().max(0.5),
                "ln({x}) = {got}, not {want}"
            );
            x *= 1.0173;
        }
    }

    #[test]
    fn noise_has_the_moments_of_a_gumbel() {
        let n = 200_000;
        let draws: Vec<f64> = (0..n)
            .map(|i| f64::from(gumbel(7, i / 500, i % 500)))
            .collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
        let (euler, pi2_6) = (0.577_215_664_9, 1.644_934_066_8);
        assert!(
            (mean - euler).abs() < 4.0 * (pi2_6 / f64::from(n)).sqrt(),
            "mean {mean}"
        );
        assert!((variance - pi2_6).abs() < 0.03, "variance {variance}");
    }

    #[test]
    fn neighbouring_counters_are_uncorrelated() {
        let corr = |f: &dyn Fn(u32) -> (f32, f32)| {
            let n = 50_000;
            let (mut xy, mut x1, mut y1, mut xx, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for i in 0..n {
                let (x, y) = f(i);
                let (x, y) = (f64::from(x), f64::from(y));
                (xy, x1, y1, xx, yy) = (xy + x * y, x1 + x, y1 + y, xx + x * x, yy + y * y);
            }
            let n = f64::from(n);
            (xy / n - x1 / n * (y1 / n))
                / ((xx / n - (x1 / n).powi(2)) * (yy / n - (y1 / n).powi(2))).sqrt()
        };
        let bound = 5.0 / 50_000_f64.sqrt();
        assert!(
            corr(&|i| (gumbel(1, 9, i), gumbel(1, 9, i + 1))).abs() < bound,
            "tokens"
        );
        assert!(
            corr(&|i| (gumbel(1, i, 9), gumbel(1, i + 1, 9))).abs() < bound,
            "positions"
        );
        assert!(
            corr(&|i| (gumbel(u64::from(i), 3, 9), gumbel(u64::from(i) + 1, 3, 9))).abs() < bound,
            "seeds"
        );
        assert!(
            corr(&|i| (
                gumbel(u64::from(i) << 32, 3, 9),
                gumbel((u64::from(i) + 1) << 32, 3, 9)
            ))
            .abs()
                < bound
        );
    }

    #[test]
    fn every_noise_is_finite() {
        for v in [0_u32, 1, 255, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
            let v = (v as f32 + 0.5) * (1.0 / 4_294_967_296.0);
            let e = if v < 0.0625 {
                v
            } else {
                -ln((1.0 - v).max(1.164_153_2e-10))
            };
            assert!((-ln(e)).is_finite(), "v = {v}");
        }
    }
}
