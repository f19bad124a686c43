// out[r] += scale * (W . x[r] + bias): the projection at the end of a block, added to the
// residual stream in place.
#import projection

const EMIT: u32 = 1u;

fn input_row(row: u32) -> u32 { return row; }
fn input_rows() -> u32 { return n_rows(); }

fn emit(row: u32, r: u32, c: u32, col: u32) {
    var y = column_sum(r, c) * row_scale(r, c);
    let to = params.first_out + col;
#ifdef BIAS
    y += bias[to];
#endif
    out[row * params.out_stride + to] += params.scale * y;
}
