// A row of logits -> one token: mask, temperature, top-k, top-p, min-p, then the highest
// score with Gumbel noise; at temperature 0 the highest logit. Ties go to the lowest id.
// The order and the definitions are `decode/sampling.rs`'s.
//
// A workgroup a row. Nothing is sorted: each filter is a lowest score, found by halving
// the range of scores 32 times, and a token is kept if its score reaches the highest of
// them. Tokens that tie at the edge are all kept.
//
// Of a long vocabulary (SCANNED) `sample_scan` has looked at every token with as many
// workgroups as there is work for, and what it left tells which few can matter; the
// halving then runs over those. If they are too many, it runs over all.
#import params
#import state
#import contest
#import scores
#import noise
@group(0) @binding(0) var<uniform> params: Params;
// [rows, n_vocab]
@group(0) @binding(2) var<storage, read> logits: array<f32>;
// From `first_drawn()` on, a token a row; NO_TOKEN where a logit is not a number,
// NONE_ALLOWED where none may be drawn.
@group(0) @binding(3) var<storage, read_write> drawn: array<u32>;
// [rows, ceil(n_vocab / 32)]: a bit a token, if `is_masked()`.
@group(0) @binding(4) var<storage, read> masks: array<u32>;
#ifdef SCANNED
// [rows, n_chunks * (WIDTH + SCAN_STATS)], as `sample_scan` left it.
@group(0) @binding(5) var<storage, read> scan: array<u32>;
// [rows, LIST]: tokens that can matter.
@group(0) @binding(6) var<storage, read_write> list: array<u32>;
#endif

const NONE_ALLOWED: u32 = 0xfffffffeu;
// A score so far below the highest cannot win: noise lies between -3.2 and 22.2.
const REACH: f32 = 26.0;
// How often a range of REACH is halved to find which tokens can matter.
const HALVINGS: u32 = 12u;

// What the halving runs over.
var<private> n_items: u32;
var<private> in_list: bool;

fn item(row: u32, i: u32) -> u32 {
#ifdef SCANNED
    if (in_list) {
        return list[row * $LIST + i];
    }
#endif
    return i;
}

// Unsigned keys in the order of the scores they stand for.
fn key_of(score: f32) -> u32 {
    let word = bitcast<u32>(score);
    return select(word | 0x80000000u, ~word, (word & 0x80000000u) != 0u);
}

#ifdef SCANNED
fn n_chunks() -> u32 { return (params.n_vocab + $SCAN_CHUNK - 1u) / $SCAN_CHUNK; }
fn scan_row(row: u32) -> u32 { return row * n_chunks() * (WIDTH + $SCAN_STATS); }
fn chunk_stats(row: u32, chunk: u32) -> u32 {
    return scan_row(row) + n_chunks() * WIDTH + chunk * $SCAN_STATS;
}
// The highest of a group of SCAN_EACH tokens.
fn group_score(row: u32, group: u32) -> f32 { return bitcast<f32>(scan[scan_row(row) + group]); }
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y;
    let to = first_drawn() + row;

    var highest = LOWEST;
    var id = NO_TOKEN;
    var n_nan = 0.0;
#ifdef SCANNED
    for (var chunk = thread; chunk < n_chunks(); chunk += WIDTH) {
        let at = chunk_stats(row, chunk);
        let score = bitcast<f32>(scan[at]);
        if (score > highest || id == NO_TOKEN) {
            highest = score;
            id = scan[at + 1u];
        }
        n_nan += bitcast<f32>(scan[at + 3u]);
    }
#else
    for (var i = thread; i < params.n_vocab; i += WIDTH) {
        let score = score_of(row, i);
        if (score > highest || id == NO_TOKEN) {
            highest = score;
            id = i;
        }
        n_nan += select(0.0, 1.0, is_nan(logits[row * params.n_vocab + i]));
    }
#endif
    let likeliest = best_of(highest, id, thread);
    let bad = sum_of(n_nan, thread) > 0.0;
    let top = likeliest.score;
    var failure = NONE_ALLOWED;
    if (bad) {
        failure = NO_TOKEN;
    }
    let failed = bad || top <= LOWEST;
    // What is told apart here stands in read-only memory: browsers want to see that all
    // threads meet at the barriers below.
    if (is_greedy()) {
        if (thread == 0u) {
            drawn[to] = select(likeliest.id, failure, failed);
        }
        return;
    }
    n_items = params.n_vocab;
    in_list = false;
#ifdef SCANNED
    if (is_unfiltered()) {
        highest = LOWEST;
        id = likeliest.id;
        for (var chunk = thread; chunk < n_chunks(); chunk += WIDTH) {
            let at = chunk_stats(row, chunk);
            let noisy = bitcast<f32>(scan[at + 4u]);
            if (noisy > highest) {
                highest = noisy;
                id = scan[at + 5u];
            }
        }
        let winner = best_of(highest, id, thread);
        if (thread == 0u) {
            drawn[to] = select(winner.id, failure, failed);
        }
        return;
    }
    // All tokens' mass, of the likeliest's.
    var part = 0.0;
    for (var chunk = thread; chunk < n_chunks(); chunk += WIDTH) {
        let at = chunk_stats(row, chunk);
        part += bitcast<f32>(scan[at + 2u]) * exp(bitcast<f32>(scan[at]) - top);
    }
    let whole = sum_of(part, thread);

    // A score that no filter's edge lies below; what scores less does not matter.
    let n_groups = n_chunks() * WIDTH;
    var edge = top - REACH;
    var above = top;
    if (cuts_k()) {
        // As many groups' highest as are wanted are as many tokens.
        for (var i = 0u; i < HALVINGS; i++) {
            let trial = 0.5 * (edge + above);
            var n = 0.0;
            for (var g = thread; g < n_groups; g += WIDTH) {
                n += select(0.0, 1.0, group_score(row, g) >= trial);
            }
            if (sum_of(n, thread) >= f32(top_k())) { edge = trial; } else { above = trial; }
        }
    } else if (top_p() < 1.0) {
        // All below the edge together have less mass than top-p leaves out.
        let spare = (1.0 - top_p()) * whole * 0.999;
        for (var i = 0u; i < HALVINGS; i++) {
            let trial = 0.5 * (edge + above);
            var most = 0.0;
            for (var g = thread; g < n_groups; g += WIDTH) {
                most += f32($SCAN_EACH) * exp(min(group_score(row, g), trial) - top);
            }
            if (sum_of(most, thread) <= spare) { edge = trial; } else { above = trial; }
        }
    }
    // Top-p runs over all that top-k leaves, so that min-p must not come first.
    if (!cuts_k() || top_p() >= 1.0) {
        edge = max(edge, top + ln_min_p());
    }

    // Every thread lists what matters of its groups, behind what the threads before it do.
    var n_own = 0u;
    for (var g = thread * n_chunks(); g < (thread + 1u) * n_chunks(); g++) {
        if (group_score(row, g) >= edge) {
            for (var j = 0u; j < $SCAN_EACH; j++) {
                let token = g / WIDTH * $SCAN_CHUNK + j * WIDTH + g % WIDTH;
                if (token < params.n_vocab && score_of(row, token) >= edge) { n_own++; }
            }
        }
    }
    workgroupBarrier();
    ids[thread] = n_own;
    workgroupBarrier();
    var place = 0u;
    var n_all = 0u;
    for (var t = 0u; t < WIDTH; t++) {
        if (t < thread) { place += ids[t]; }
        n_all += ids[t];
    }
    if (n_all <= $LIST) {
        in_list = true;
        n_items = n_all;
        for (var g = thread * n_chunks(); g < (thread + 1u) * n_chunks(); g++) {
            if (group_score(row, g) >= edge) {
                for (var j = 0u; j < $SCAN_EACH; j++) {
                    let token = g / WIDTH * $SCAN_CHUNK + j * WIDTH + g % WIDTH;
                    if (token < params.n_vocab && score_of(row, token) >= edge) {
                        list[row * $LIST + place] = token;
                        place++;
                    }
                }
            }
        }
    }
    storageBarrier();
    workgroupBarrier();
#endif

    // The lowest key that is kept.
    var floor_key = 0u;
    if (cuts_k()) {
        // The largest key that at least top_k() tokens reach.
        for (var bit = 0x80000000u; bit != 0u; bit >>= 1u) {
            let trial = floor_key | bit;
            var n = 0.0;
            for (var i = thread; i < n_items; i += WIDTH) {
                n += select(0.0, 1.0, key_of(score_of(row, item(row, i))) >= trial);
            }
            if (sum_of(n, thread) >= f32(top_k())) {
                floor_key = trial;
            }
        }
    }
    if (top_p() < 1.0) {
        var mass = 0.0;
        for (var i = thread; i < n_items; i += WIDTH) {
            let score = score_of(row, item(row, i));
            mass += select(0.0, exp(score - top), key_of(score) >= floor_key);
        }
        var wanted = sum_of(mass, thread);
#ifdef SCANNED
        if (!cuts_k()) {
            wanted = whole;
        }
#endif
        wanted *= top_p();
        // The largest key whose tokens have that mass; the likeliest always stays.
        var reached = 0u;
        for (var bit = 0x80000000u; bit != 0u; bit >>= 1u) {
            let trial = reached | bit;
            var kept = 0.0;
            for (var i = thread; i < n_items; i += WIDTH) {
                let score = score_of(row, item(row, i));
                kept += select(0.0, exp(score - top), key_of(score) >= trial);
            }
            let mass_kept = sum_of(kept, thread);
            if (trial <= key_of(top) && mass_kept >= wanted) {
                reached = trial;
            }
        }
        floor_key = max(floor_key, reached);
    }
    floor_key = max(floor_key, key_of(max(top + ln_min_p(), 0.5 * LOWEST)));

    highest = LOWEST;
    id = likeliest.id;
    for (var i = thread; i < n_items; i += WIDTH) {
        let token = item(row, i);
        let score = score_of(row, token);
        if (key_of(score) >= floor_key) {
            let noisy = score + gumbel(seed(), place_of(row), token);
            if (noisy > highest || (noisy == highest && token < id)) {
                highest = noisy;
                id = token;
            }
        }
    }
    let winner = best_of(highest, id, thread);
    if (thread == 0u) {
        drawn[to] = select(winner.id, failure, failed);
    }
}
