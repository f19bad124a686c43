// Ends a round: counts the guesses, from the first, that the target drew, and puts that
// number and the target's draws where they are read back together. A single thread: there
// are seventeen rows at most.
#import tokens
// The target's draws, the draft's, then the outcome.
@group(0) @binding(2) var<storage, read_write> drawn: array<u32>;

@compute @workgroup_size(1)
fn main() {
    let n = n_logits_rows();
    let first_guess = first_logits_row() + 1u;
    var right = 0u;
    while (right + 1u < n && token(first_guess + right) == drawn[first_drawn() + right]) {
        right++;
    }
    drawn[$DRAWN_OUTCOME] = right;
    for (var i = 0u; i < n; i++) {
        drawn[$DRAWN_OUTCOME + 1u + i] = drawn[first_drawn() + i];
    }
}
