// The body of projections of few rows: ROWS of them at once.
//
// Weight-stationary: a thread takes every LANES-th block of 32 weights of COLS matrix
// rows, turns it into numbers once, and multiplies it with all ROWS input rows. LANES
// threads share a matrix row and add up at the end.
//
// A row's sums are made of the same terms in the same order whatever ROWS is: rows
// share weights, never sums.
const THREADS: u32 = 64u;
// Matrix rows a workgroup takes.
const TILE: u32 = THREADS / LANES * $COLS;
// Rows that are added up at a time, and sums a thread has for each.
const BATCH: u32 = $BATCH;
#ifdef NORM
const SUMS: u32 = $COLS + 1;
#else
const SUMS: u32 = $COLS;
#endif

// [BATCH * SUMS, THREADS]
var<workgroup> sums: array<f32, $BATCH * SUMS * THREADS>;

// The sum over the lanes from `at` on: over each GROUP of them, which was made already,
// then over the groups.
fn lanes_sum(at: u32) -> f32 {
    var sum = sums[at];
    for (var h = GROUP; h < LANES; h += GROUP) {
        sum += sums[at + h];
    }
    return sum;
}

// The finished sum of column `col` of the tile, row `r` of the batch.
fn column_sum(r: u32, col: u32) -> f32 {
    return lanes_sum((r * SUMS + col % $COLS) * THREADS + col / $COLS * LANES);
}

// What the row's sums are multiplied with.
fn row_scale(r: u32, col: u32) -> f32 {
#ifdef NORM
    let squares = lanes_sum((r * SUMS + $COLS) * THREADS + col / $COLS * LANES);
    return 1.0 / sqrt(squares / f32(params.n_in) + params.eps);
#else
    return 1.0;
#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lane = thread % LANES;
    let first_col = (workgroup.x + workgroup.y * n_workgroups.x) * TILE;
    let col = first_col + thread / LANES * $COLS;
    let first_row = workgroup.z * $ROWS;
    let stride = params.n_blocks * 8u;

#for c in 0..COLS
    // Past the end the last row is computed again and not emitted.
    let col_$c = min(col + $c, params.n_out - 1u);
#end
#for r in 0..ROWS
    let x_$r = input_row(first_row + $r) * stride;
#end
    var acc: array<f32, $ROWS * $COLS>;
#ifdef NORM
    var squares: array<f32, $ROWS>;
#endif
    for (var k = lane; k < params.n_blocks; k += LANES) {
#for c in 0..COLS
        let block_$c = load_block(col_$c, k);
#end
#for i in 0..8
        {
            let at = k * 8u + $i;
#ifdef NORM
            let g = norm[at];
#endif
#for c in 0..COLS
#ifdef NORM
            let w_$c = block_weights_$i(block_$c) * g;
#else
            let w_$c = block_weights_$i(block_$c);
#endif
#end
#for r in 0..ROWS
            {
                let v = x[x_$r + at];
#for c in 0..COLS
                acc[$r * $COLS + $c] += dot(w_$c, v);
#end
#ifdef NORM
                squares[$r] += dot(v, v);
#endif
            }
#end
        }
#end
    }

#for batch in 0..BATCHES
    {
#for r in 0..BATCH
#for c in 0..COLS
        sums[($r * SUMS + $c) * THREADS + thread] = acc[($batch * $BATCH + $r) * $COLS + $c];
#end
#ifdef NORM
        sums[($r * SUMS + $COLS) * THREADS + thread] = squares[$batch * $BATCH + $r];
#endif
#end
        workgroupBarrier();
        if (GROUP > 1u) {
            for (var i = thread; i < BATCH * SUMS * THREADS / GROUP; i += THREADS) {
                var sum = sums[i * GROUP];
                for (var h = 1u; h < GROUP; h++) {
                    sum += sums[i * GROUP + h];
                }
                sums[i * GROUP] = sum;
            }
            workgroupBarrier();
        }
        for (var i = thread; i < BATCH * TILE / EMIT; i += THREADS) {
            let r = i / (TILE / EMIT);
            let c = i % (TILE / EMIT) * EMIT;
            let row = first_row + $batch * BATCH + r;
            if (row < input_rows() && first_col + c < params.n_out) {
                emit(row, r, c, first_col + c);
            }
        }
        workgroupBarrier();
    }
#end
}
