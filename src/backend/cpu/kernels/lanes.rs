//! What a kernel needs of a processor: eight lanes of integers and of floats.

/// Vector operations over eight lanes, one for each weight row of a group.
///
/// A value of a type that implements this is the proof that the processor has what its
/// methods use. All implementations give the same bits: integer sums are exact, and
/// every float operation is one IEEE operation a lane, none fused.
pub trait Lanes: Copy {
    /// Sixteen `i16`: two neighbouring columns of eight rows.
    type Pairs: Copy;
    /// Eight `i32`.
    type Ints: Copy;
    /// Eight `f32`.
    type Floats: Copy;

    /// Signed bytes, widened.
    fn bytes(self, from: &[u8; 16]) -> Self::Pairs;

    /// Sixteen little-endian `u16` of four nibbles each: the lowest of all, then the
    /// next, up to the highest.
    fn nibbles(self, from: &[u8; 32]) -> [Self::Pairs; 4];

    /// Two columns of activations, the same for all rows.
    fn pair(self, x: &[i16; 2]) -> Self::Pairs;

    /// One integer in all lanes.
    fn int(self, x: i32) -> Self::Ints;

    /// `sums[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1]`. The products and their sums
    /// must fit; only the sum of two products of `-32768 * -32768` would not.
    fn dot(self, sums: Self::Ints, a: Self::Pairs, b: Self::Pairs) -> Self::Ints;

    /// Rounded to the nearest float, ties to even.
    fn floats(self, x: Self::Ints) -> Self::Floats;

    /// One float in all lanes.
    fn float(self, x: f32) -> Self::Floats;

    /// Little-endian `f32`.
    fn load(self, from: &[u8; 32]) -> Self::Floats;

    /// Out of memory.
    fn read(self, from: &[f32; 8]) -> Self::Floats;

    /// Little-endian half-precision numbers; none is infinite or NaN.
    fn halves(self, from: &[u8; 16]) -> Self::Floats;

    /// Unsigned bytes as floats.
    fn small(self, from: &[u8; 8]) -> Self::Floats;

    /// Signed bytes as floats.
    fn small_signed(self, from: &[u8; 8]) -> Self::Floats;

    /// Eight pairs of little-endian bfloat16: the first of each pair, then the second.
    fn bf16_pairs(self, from: &[u8; 32]) -> [Self::Floats; 2];

    /// As [`Lanes::bf16_pairs`], of half-precision numbers; none is infinite or NaN.
    fn f16_pairs(self, from: &[u8; 32]) -> [Self::Floats; 2];

    /// `a + b`.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a - b`.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Into memory.
    fn store(self, x: Self::Floats, to: &mut [f32; 8]);
}
