// The body of projections of many rows: a workgroup takes 64 matrix rows ("columns" of the
// output) and 32 input rows, a thread four of each.
//
// A block of 32 weights of every column becomes numbers once, in workgroup memory, for all
// 32 rows; the inputs stand beside it. Sums are made of the terms of `matvec` in its order:
// lane after lane, as if the lanes' threads took turns, then lanes in groups, then groups.
// A row's bits are therefore those it has alone, and a prompt may be cut up anywhere.
const THREADS: u32 = 128u;
const TILE_COLS: u32 = 64u;
const TILE_ROWS: u32 = 32u;

// [8, TILE_COLS], a column's place being `w_place`; afterwards the finished sums:
// [4 rows, THREADS], a vector being a thread's columns.
var<workgroup> w_tile: array<vec4<f32>, 8 * TILE_COLS>;
// [8, TILE_ROWS]
var<workgroup> x_tile: array<vec4<f32>, 8 * TILE_ROWS>;
#ifdef NORM
var<workgroup> squares: array<f32, TILE_ROWS>;
#endif

// Thread (across, down) has columns 2 across + {0, 1, 32, 33} and rows down + {0, 8, 16, 24}.
// Pairs of columns are neighbours because gate and up are; they stand apart in the tile so
// that neighbouring threads read neighbouring vectors.
fn w_place(col: u32) -> u32 { return (col & 1u) * 32u + col / 2u; }

fn column_sum(r: u32, col: u32) -> f32 {
    let pair = col / 2u;
    let thread = (r % 8u) * 16u + pair % 16u;
    return w_tile[r / 8u * THREADS + thread][pair / 16u * 2u + (col & 1u)];
}

fn row_scale(r: u32, col: u32) -> f32 {
#ifdef NORM
    return 1.0 / sqrt(squares[r] / f32(params.n_in) + params.eps);
#else
    return 1.0;
#endif
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_col = (workgroup.x + workgroup.y * n_workgroups.x) * TILE_COLS;
    let first_row = workgroup.z * TILE_ROWS;
    let across = thread % 16u;
    let down = thread / 16u;
    let stride = params.n_blocks * 8u;
    // What the thread brings: half a column's block; past the end the last column again.
    let w_col = thread % TILE_COLS;
    let from_col = min(first_col + w_col, params.n_out - 1u);

#for r in 0..4
    var acc_$r = vec4<f32>();
    var group_$r = vec4<f32>();
    var total_$r = vec4<f32>();
#end
#ifdef NORM
    // Of the row of that number, for the first TILE_ROWS threads.
    var square = 0.0;
    var square_group = 0.0;
    var square_total = 0.0;
#endif
    for (var lane = 0u; lane < LANES; lane++) {
        for (var k = lane; k < params.n_blocks; k += LANES) {
            workgroupBarrier();
            let block = load_block(from_col, k);
            if (thread < TILE_COLS) {
#for i in 0..4
                w_tile[$i * TILE_COLS + w_place(w_col)] = block_weights_$i(block)
#ifdef NORM
                    * norm[k * 8u + $i]
#endif
                    ;
#end
            } else {
#for i in 4..8
                w_tile[$i * TILE_COLS + w_place(w_col)] = block_weights_$i(block)
#ifdef NORM
                    * norm[k * 8u + $i]
#endif
                    ;
#end
            }
            for (var i = thread; i < 8u * TILE_ROWS; i += THREADS) {
                let row = min(first_row + i / 8u, input_rows() - 1u);
                x_tile[i % 8u * TILE_ROWS + i / 8u] = x[input_row(row) * stride + k * 8u + i % 8u];
            }
            workgroupBarrier();
            for (var i = 0u; i < 8u; i++) {
                let w_at = i * TILE_COLS + across;
                let w_0 = w_tile[w_at];
                let w_1 = w_tile[w_at + 32u];
                let w_2 = w_tile[w_at + 16u];
                let w_3 = w_tile[w_at + 48u];
#for r in 0..4
                {
                    let v = x_tile[i * TILE_ROWS + down + 8u * $r];
                    acc_$r.x += dot(w_0, v);
                    acc_$r.y += dot(w_1, v);
                    acc_$r.z += dot(w_2, v);
                    acc_$r.w += dot(w_3, v);
                }
#end
            }
#ifdef NORM
            if (thread < TILE_ROWS) {
                for (var i = 0u; i < 8u; i++) {
                    let v = x_tile[i * TILE_ROWS + thread];
                    square += dot(v, v);
                }
            }
#endif
        }
        // The lane is done. The first of a group begins it, the last ends it.
        let begins = lane % GROUP == 0u;
        let ends = lane % GROUP == GROUP - 1u;
        let is_first = lane < GROUP;
#for r in 0..4
        if (begins) { group_$r = acc_$r; } else { group_$r += acc_$r; }
        acc_$r = vec4<f32>();
        if (ends) {
            if (is_first) { total_$r = group_$r; } else { total_$r += group_$r; }
        }
#end
#ifdef NORM
        if (begins) { square_group = square; } else { square_group += square; }
        square = 0.0;
        if (ends) {
            if (is_first) { square_total = square_group; } else { square_total += square_group; }
        }
#endif
    }

    workgroupBarrier();
#for r in 0..4
    w_tile[$r * THREADS + thread] = total_$r;
#end
#ifdef NORM
    if (thread < TILE_ROWS) {
        squares[thread] = square_total;
    }
#endif
    workgroupBarrier();
    for (var i = thread; i < TILE_ROWS * TILE_COLS / EMIT; i += THREADS) {
        let r = i / (TILE_COLS / EMIT);
        let c = i % (TILE_COLS / EMIT) * EMIT;
        let row = first_row + r;
        if (row < input_rows() && first_col + c < params.n_out) {
            emit(row, r, c, first_col + c);
        }
    }
}
