//! What a device has to know beside logits and noise: the terms of a round.

use std::collections::{BTreeMap, VecDeque};

use super::constraint::Constraint;
use super::history::History;
use super::params::SamplingParams;
use super::sampling::TokenMask;
use crate::backend::{MAX_TOKEN_CHANGES, Penalties, TokenChange};
use crate::error::Result;

/// The tokens whose logits a request changes after `history`, ascending; `None` where they
/// are more than a device takes.
pub(super) fn changes(params: &SamplingParams, history: &History) -> Option<Vec<TokenChange>> {
    let mut changes: BTreeMap<u32, TokenChange> = BTreeMap::new();
    let mut of = |token, change: &dyn Fn(&mut TokenChange)| {
        change(changes.entry(token).or_insert(TokenChange {
            token,
            bias: 0.0,
            is_said: false,
            n_in_reply: 0,
        }));
    };
    for &(token, bias) in &params.logit_bias {
        of(token, &|change| change.bias += bias);
    }
    // A prompt costs nothing but where repeating does.
    if params.repetition_penalty != 1.0 {
        for &token in history.in_prompt.keys() {
            of(token, &|change| change.is_said = true);
        }
    }
    if params.has_penalties() {
        for (&token, &count) in &history.in_reply {
            of(token, &|change| {
                (change.is_said, change.n_in_reply) = (true, count);
            });
        }
    }
    (changes.len() <= MAX_TOKEN_CHANGES).then(|| changes.into_values().collect())
}

/// What a request asks for having been said.
pub(super) fn penalties(params: &SamplingParams) -> Option<Penalties> {
    params.has_penalties().then_some(Penalties {
        repetition: params.repetition_penalty,
        frequency: params.frequency_penalty,
        presence: params.presence_penalty,
    })
}

/// What may be drawn after the text and after each of `guesses`, as words of a mask each:
/// one more than there are guesses. Where a token is forced, it alone. Guesses that cannot
/// follow are dropped, with those behind them, and so are those behind the end of the text.
///
/// # Errors
/// What the constraint reports; it stands afterwards where it stood.
pub(super) fn masks_along(
    constraint: &mut Constraint,
    guesses: &mut Vec<u32>,
    stop_ids: &[u32],
) -> Result<Vec<Vec<u32>>> {
    let start = constraint.position();
    let masks = walk(constraint, guesses, stop_ids);
    constraint.rollback_to(start)?;
    masks
}

fn walk(
    constraint: &mut Constraint,
    guesses: &mut Vec<u32>,
    stop_ids: &[u32],
) -> Result<Vec<Vec<u32>>> {
    let mut masks: Vec<Vec<u32>> = Vec::with_capacity(guesses.len() + 1);
    let mut forced: VecDeque<u32> = VecDeque::new();
    loop {
        let at = masks.len();
        let is_forced = !forced.is_empty();
        let mask = match forced.pop_front() {
            Some(token) => {
                let mut mask = TokenMask::none(token as usize + 1);
                mask.allow(token);
                mask
            }
            None => constraint.mask()?,
        };
        let guess = guesses.get(at).copied().filter(|&guess| mask.allows(guess));
        masks.push(mask.into_words());
        let Some(guess) = guess else {
            guesses.truncate(at);
            return Ok(masks);
        };
        if stop_ids.contains(&guess) {
            guesses.truncate(at + 1);
            masks.push(masks[at].clone());
            return Ok(masks);
        }
        if !is_forced {
            constraint.commit(guess)?;
            forced = constraint.take_forced()?.into();
        }
    }
}
