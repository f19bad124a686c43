//! Bytes for tests.

/// Bytes that are whole blocks of any type, each of a finite value: no float, scale
/// or exponent has its highest exponent bit set.
pub fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0xbf
    };
    (0..n_bytes).map(|_| next()).collect()
}
