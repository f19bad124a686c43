//! Prompt look-up: where the last words stood before, what followed them is a good
//! guess. No second model; at its best on summaries, rewrites, code and tool
//! transcripts.

use super::{Draft, Drafter, Proposal, Source};
use crate::error::Result;
use crate::format::LocalFuture;

/// Proposes what followed the last occurrence of the longest n-gram that ends the
/// text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NgramDrafter {
    /// The longest n-gram to look for.
    pub max_ngram: usize,
    /// The shortest n-gram to believe.
    pub min_ngram: usize,
}

impl Default for NgramDrafter {
    fn default() -> Self {
        Self {
            max_ngram: 8,
            min_ngram: 3,
        }
    }
}

impl NgramDrafter {
    /// What followed; empty where no n-gram of at least `min_ngram` stood before.
    pub fn lookup(&self, tokens: &[u32], max: usize) -> Vec<u32> {
        let suffix_match = |end: usize| {
            let longest = self.max_ngram.min(end);
            (0..longest)
                .take_while(|&back| tokens[end - 1 - back] == tokens[tokens.len() - 1 - back])
                .count()
        };
        // The longest match wins; of equally long ones the latest.
        let mut best = (0, 0);
        for end in (1..tokens.len()).rev() {
            let matched = suffix_match(end);
            if matched > best.0 {
                best = (matched, end);
                if matched == self.max_ngram {
                    break;
                }
            }
        }
        let (matched, end) = best;
        if matched < self.min_ngram.max(1) {
            return Vec::new();
        }
        // A text that repeats itself with a short period goes on repeating.
        let period = tokens.len() - end;
        (0..max).map(|i| tokens[end + i % period]).collect()
    }
}

impl Drafter for NgramDrafter {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        Box::pin(std::future::ready(Ok(self.look_up(draft))))
    }

    fn look_up(&mut self, draft: &mut Draft<'_>) -> Proposal {
        let mut tokens = self.lookup(draft.history.tokens(), draft.max);
        if let Some(constraint) = &mut draft.constraint {
            tokens.truncate(constraint.count_allowed(&tokens));
        }
        Proposal::certain(Source::Ngram, tokens)
    }

    fn works(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_then_the_latest_match_wins() {
        let drafter = NgramDrafter {
            max_ngram: 3,
            min_ngram: 1,
        };
        assert_eq!(drafter.lookup(&[1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 2), [9, 2]);
        assert_eq!(drafter.lookup(&[3, 7, 3, 8, 3], 1), [8]);
        assert_eq!(drafter.lookup(&[1, 2, 3], 4), [0_u32; 0]);
    }

    #[test]
    fn short_matches_are_not_believed() {
        let drafter = NgramDrafter {
            max_ngram: 4,
            min_ngram: 2,
        };
        assert_eq!(drafter.lookup(&[3, 7, 3, 8, 3], 1), [0_u32; 0]);
    }

    #[test]
    fn a_period_goes_on() {
        let drafter = NgramDrafter {
            max_ngram: 4,
            min_ngram: 2,
        };
        assert_eq!(drafter.lookup(&[1, 2, 1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
    }
}
