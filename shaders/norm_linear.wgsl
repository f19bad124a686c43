// out[r] = W . norm(x[r]) + bias: one or more projections side by side, packed as one
// matrix. Without a norm (NORM absent) it is a plain projection.
#import projection

// Matrix rows that become one output.
const EMIT: u32 = 1u;

fn input_row(row: u32) -> u32 { return row; }
fn input_rows() -> u32 { return n_rows(); }

fn emit(row: u32, r: u32, c: u32, col: u32) {
    var y = column_sum(r, c) * row_scale(r, c);
    let to = params.first_out + col;
#ifdef BIAS
    y += bias[to];
#endif
    out[row * params.out_stride + to] = y;
}
