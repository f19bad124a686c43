// The body of every projection, `W . x` or `W . norm(x)`, for few rows or for many.
//
// The norm is folded in: its weight multiplies the matrix's, the sum of squares is
// gathered on the way, and the root divides the finished sum, so that there is no pass
// over `x` before this one.
//
// A row's sums are made of the same terms in the same order whatever runs beside it. A
// kernel that imports this defines
//   fn input_row(row) -> u32   which row of `x` row `row` of the dispatch is
//   fn input_rows() -> u32     how many rows the dispatch has
//   fn emit(row, r, c, col)    what becomes of the sums of column `col`, by `column_sum`
//                              and `row_scale` of `r` and `c`, its place in the tile
#import params
#import state
#import weights
#import format
@group(0) @binding(0) var<uniform> params: Params;
// [rows, 8 * n_blocks] vectors: rows are padded to whole blocks with zeros.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
// [rows, out_stride]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
#ifdef NORM
// [8 * n_blocks] vectors.
@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;
#endif
#ifdef BIAS
// [n_out of all segments]
@group(0) @binding(7) var<storage, read> bias: array<f32>;
#endif

// Threads, or turns of one, that share a matrix row; their sums are added up one after
// another in groups of so many, then the groups.
const LANES: u32 = $LANES;
const GROUP: u32 = $GROUP;

#ifdef GEMM
#import gemm
#else
#import matvec
#endif
