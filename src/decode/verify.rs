//! Whether a guess stands.
//!
//! * [`Verification::Exact`], the default: the target draws at every position with
//!   the noise of that position, and a guess stands where it is what was drawn. The
//!   text is that of plain decoding.
//! * [`Verification::Rejection`]: the published rule (Leviathan et al., arXiv
//!   2211.17192; Chen et al., arXiv 2302.01318). A guess `x` drawn from `q` stands with
//!   probability `min(1, p(x) / q(x))`; the first that does not is replaced by a draw
//!   from `norm(max(0, p - q))`; after a clean sweep one more is drawn from `p`. The
//!   distribution is the target's; the text depends on the draft.

use super::draft::{Drawing, Proposal};
use super::noise::{draw_from, uniform};
use super::sampling::{Distribution, History, Sampler, TokenMask};
use crate::error::{Code, Error, Result};

/// Keep the coin and the correction apart from the target's own noise.
const COIN_STREAM: u64 = 0xd1b5_4a32_d192_ed03;
const CORRECTION_STREAM: u64 = 0x8cb9_2ba7_2f3d_8dd7;

/// The rule by which guesses stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    /// A guess stands where the target drew the same: the text never changes.
    #[default]
    Exact,
    /// Rejection sampling: the distribution never changes.
    Rejection,
}

impl Verification {
    /// How a draft model must draw for this rule.
    pub fn drawing(self) -> Drawing {
        match self {
            Verification::Exact => Drawing::Shared,
            Verification::Rejection => Drawing::Independent,
        }
    }

    /// The text's next token, given the `row`-th guess of `proposal` (or none, past its
    /// end), and whether that guess stood.
    ///
    /// # Errors
    /// `request_invalid` where the mask allows no token.
    pub(super) fn next(
        self,
        sampler: &mut Sampler,
        logits: &[f32],
        history: &History,
        mask: Option<&TokenMask>,
        guess: Option<(&Proposal, usize)>,
    ) -> Result<(u32, bool)> {
        let Some((proposal, row)) = guess else {
            return Ok((sampler.draw(logits, history, mask)?, false));
        };
        let guessed = proposal.tokens[row];
        if self == Verification::Exact {
            let drawn = sampler.draw(logits, history, mask)?;
            return Ok((drawn, drawn == guessed));
        }
        let p = sampler.distribution(logits, history, mask);
        let certain = [(guessed, 1.0)];
        let q = proposal
            .distributions
            .get(row)
            .map_or(&certain[..], |q| &q[..]);
        let (seed, position) = (sampler.params().seed, history.len() as u32);
        let coin = uniform(seed ^ COIN_STREAM, position, 0);
        if coin * probability(q, guessed) < probability(&p, guessed) {
            return Ok((guessed, true));
        }
        let none = || {
            Error::new(
                Code::RequestInvalid,
                "constraint",
                "no token is allowed at this point",
            )
        };
        // Rounding can leave no residual where p and q are the same: then p will do.
        let correction = draw_from(seed ^ CORRECTION_STREAM, position, &residual(&p, q));
        let drawn = correction.or_else(|| draw_from(seed ^ CORRECTION_STREAM, position, &p));
        Ok((drawn.ok_or_else(none)?, false))
    }
}

fn probability(of: &[(u32, f64)], token: u32) -> f64 {
    of.iter()
        .find(|(id, _)| *id == token)
        .map_or(0.0, |(_, probability)| *probability)
}

/// `max(0, p - q)`, not normalised.
fn residual(p: &[(u32, f64)], q: &[(u32, f64)]) -> Distribution {
    let q: std::collections::HashMap<u32, f64> = q.iter().copied().collect();
    p.iter()
        .map(|&(token, p)| (token, (p - q.get(&token).copied().unwrap_or(0.0)).max(0.0)))
        .collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
