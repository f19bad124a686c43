//! The reductions everything else is built on, each in one fixed order.
//!
//! [`dot`] keeps sixteen running sums (element `i` goes to sum `i % 16`) and adds
//! them up by halves. The order depends on the length alone, never on how many rows
//! run, on the target's vector width or on threads, and products and sums are
//! rounded one by one (nothing is fused), so a row's result is the same to the bit
//! wherever and beside whatever it is computed.

/// Running sums: four 128-bit vectors, enough to hide the latency of an addition.
const LANES: usize = 16;

/// `sum(a[i] * b[i])`.
///
/// # Panics
/// Where the lengths differ.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(
        a.len(),
        b.len(),
        "dot of {} and {} elements",
        a.len(),
        b.len()
    );
    let mut sums = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += a * b;
    }
    add_up(sums)
}

/// Two of [`dot`] with one `b`, to the same bits: `b` is loaded once for both.
#[inline]
pub fn dot2(a0: &[f32], a1: &[f32], b: &[f32]) -> [f32; 2] {
    let n = b.len();
    assert!(
        a0.len() == n && a1.len() == n,
        "dot of {} and {} with {n} elements",
        a0.len(),
        a1.len()
    );
    let mut sums = [[0.0f32; LANES]; 2];
    let whole = n - n % LANES;
    let pairs = a0.chunks_exact(LANES).zip(a1.chunks_exact(LANES));
    for ((a0, a1), b) in pairs.zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[0][lane] += a0[lane] * b[lane];
            sums[1][lane] += a1[lane] * b[lane];
        }
    }
    for at in whole..n {
        sums[0][at - whole] += a0[at] * b[at];
        sums[1][at - whole] += a1[at] * b[at];
    }
    [add_up(sums[0]), add_up(sums[1])]
}

/// The sums, by halves.
#[inline]
fn add_up(mut sums: [f32; LANES]) -> f32 {
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            sums[lane] += sums[lane + n];
        }
    }
    sums[0]
}

/// `y[i] += a * x[i]`.
#[inline]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(y.len(), x.len(), "{} and {} elements", y.len(), x.len());
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values whose sum depends on the order they are added in.
    fn awkward(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|i| next() * 10f32.powi(i as i32 % 5)).collect()
    }

    #[test]
    fn a_dot_is_the_sum_of_the_products() {
        for n in 0..100 {
            let (a, b) = (awkward(n, 1), awkward(n, 2));
            let exact: f64 = a
                .iter()
                .zip(&b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            let size: f64 = a
                .iter()
                .zip(&b)
                .map(|(a, b)| f64::from((a * b).abs()))
                .sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-6 * size, "{n}");
        }
    }

    #[test]
    fn two_at_once_are_each_alone_to_the_bit() {
        for n in 0..100 {
            let (a0, a1, b) = (awkward(n, 3), awkward(n, 4), awkward(n, 5));
            let both = dot2(&a0, &a1, &b);
            assert_eq!(both[0].to_bits(), dot(&a0, &b).to_bits(), "{n}");
            assert_eq!(both[1].to_bits(), dot(&a1, &b).to_bits(), "{n}");
        }
    }
}
