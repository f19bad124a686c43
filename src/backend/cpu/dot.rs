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
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(
        a.len(),
        b.len(),
        "dot of {} and {} elements",
        a.len(),
        b.len()
    );
    // Arrays of known length, so that the sums stay in vector registers.
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        step(&mut sums, a, b);
    }
    if !a_rest.is_empty() {
        step(&mut sums, &padded(a_rest), &padded(b_rest));
    }
    add_up(&sums)
}

/// Two of [`dot`] with one `b`, to the same bits: `b` is loaded once for both.
///
/// # Panics
/// Where the lengths differ.
#[inline(always)]
pub fn dot2(a0: &[f32], a1: &[f32], b: &[f32]) -> [f32; 2] {
    let n = b.len();
    assert!(
        a0.len() == n && a1.len() == n,
        "dot of {} and {} with {n} elements",
        a0.len(),
        a1.len()
    );
    let (a0_chunks, a0_rest) = a0.as_chunks::<LANES>();
    let (a1_chunks, a1_rest) = a1.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let (mut sums0, mut sums1) = ([0.0f32; LANES], [0.0f32; LANES]);
    for ((a0, a1), b) in a0_chunks.iter().zip(a1_chunks).zip(b_chunks) {
        step(&mut sums0, a0, b);
        step(&mut sums1, a1, b);
    }
    if !b_rest.is_empty() {
        let b = padded(b_rest);
        step(&mut sums0, &padded(a0_rest), &b);
        step(&mut sums1, &padded(a1_rest), &b);
    }
    [add_up(&sums0), add_up(&sums1)]
}

#[inline(always)]
fn step(sums: &mut [f32; LANES], a: &[f32; LANES], b: &[f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] += a[lane] * b[lane];
    }
}

/// Fewer than [`LANES`] elements, and zeros.
#[inline(always)]
fn padded(rest: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// The sums, by halves.
#[inline(always)]
fn add_up(sums: &[f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| sums[i] + sums[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// `sum(x[i])`, in the order of [`dot`].
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for x in chunks.iter().chain(&[padded(rest)]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x;
        }
    }
    add_up(&sums)
}

/// The largest; negative infinity of none, and of NaN alone.
#[inline(always)]
pub fn highest(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for x in chunks {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    rest.iter()
        .chain(&lanes)
        .fold(f32::NEG_INFINITY, |max, &x| max.max(x))
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
    fn sums_and_highest_are_those_of_all() {
        for n in 1..100 {
            let x = awkward(n, 6);
            let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
            assert!((f64::from(sum(&x)) - exact).abs() <= 1e-2, "{n}");
            assert!(x.contains(&highest(&x)) && x.iter().all(|&one| one <= highest(&x)));
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
