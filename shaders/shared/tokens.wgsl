// The rows' tokens. Those that an earlier pass of the round drew are in `drawn`, which the
// kernel binds: the target's draws, the draft's, then the outcome.
#import state

fn token(row: u32) -> u32 {
    let word = state[$STATE_ROWS + 2u * row];
    if (word >= $DRAWN) {
        return drawn[word - $DRAWN];
    }
    return word;
}
