// out[r, j] = act(gate[j] . norm(x[r])) * (up[j] . norm(x[r])): rows 2j and 2j + 1 of the
// packed matrix are gate's and up's row j, so one thread has both sums.
#import projection
#import activation

const EMIT: u32 = 2u;

fn input_row(row: u32) -> u32 { return row; }
fn input_rows() -> u32 { return n_rows(); }

fn emit(row: u32, r: u32, c: u32, col: u32) {
    let scale = row_scale(r, c);
    var gate = column_sum(r, c) * scale;
    var up = column_sum(r, c + 1u) * scale;
    let to = params.first_out + col;
#ifdef BIAS
    gate += bias[to];
    up += bias[to + 1u];
#endif
    out[row * params.out_stride + to / 2u] = activate(gate) * up;
}
