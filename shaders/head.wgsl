// out[i] = cap(scale * (W . norm(x[r]) + bias)) for the rows r whose logits are wanted,
// numbered from 0 in `out`.
#import projection
#import softcap

const EMIT: u32 = 1u;

fn input_row(row: u32) -> u32 { return first_logits_row() + row; }
fn input_rows() -> u32 { return n_logits_rows(); }

fn emit(row: u32, r: u32, c: u32, col: u32) {
    var y = column_sum(r, c) * row_scale(r, c);
    let to = params.first_out + col;
#ifdef BIAS
    y += bias[to];
#endif
    out[row * params.out_stride + to] = softcapped(params.scale * y, params.softcap);
}
