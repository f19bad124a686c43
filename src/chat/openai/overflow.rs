//! A conversation that has grown past the context: an error, or, where a request asks for
//! it, the same conversation without its oldest turns, and word of which those were.
//!
//! A turn is what a user says and all that follows until the user speaks again: calls stay
//! with their results, and templates see roles take turns as before. Dropped are whole
//! turns, the oldest first. What stays is every system and developer message, every turn
//! that holds a pinned message, and the last turn.

use serde::Serialize;
use serde_json::Value as Json;

use super::fields::{Field, invalid};
use crate::error::{Code, Error, Result};

/// The fields of `context_overflow` in a request.
pub const FIELDS: &[&str] = &["policy", "pinned", "reserve_tokens"];
/// `policy`'s words.
pub const POLICIES: &[&str] = &["error", "drop_oldest"];

/// Turns are dropped so many a time that this part of the context comes free: a cut that
/// moved with every turn would leave nothing of the cache to the next.
const CUT_PARTS: usize = 4;
/// The part of the context that is kept free for the reply where nothing else is asked for.
const RESERVE_PARTS: usize = 4;

/// What to do with a conversation that does not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Say so.
    #[default]
    Error,
    /// Leave out the oldest turns.
    DropOldest {
        /// Messages whose turns stay, by index.
        pinned: Vec<usize>,
        /// Tokens to keep free for the reply; `max_tokens`, but no more than a quarter of
        /// the context, where not given.
        reserve_tokens: Option<usize>,
    },
}

/// What was left out of a conversation: the field `context_overflow` of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The messages, by index.
    pub dropped_messages: Vec<usize>,
    /// Tokens by which the prompt is shorter.
    pub dropped_tokens: usize,
}

/// Reads `context_overflow` for a conversation of `n_messages`.
pub(super) fn read(field: &Field<'_>, n_messages: usize) -> Result<Overflow> {
    let policy = |field: &Field<'_>| {
        let words: Vec<(&str, ())> = POLICIES.iter().map(|policy| (*policy, ())).collect();
        field.one_of(&words)?;
        Ok(field.string()? == "drop_oldest")
    };
    let drops = |pinned, reserve_tokens| Overflow::DropOldest {
        pinned,
        reserve_tokens,
    };
    if field.value.is_string() {
        return Ok(match policy(field)? {
            true => drops(Vec::new(), None),
            false => Overflow::Error,
        });
    }
    let fields = field.object(FIELDS)?;
    let pinned = fields.read("pinned", |pinned| {
        let last = n_messages.saturating_sub(1);
        let list = pinned.list()?;
        list.iter().map(|index| index.count(0, last)).collect()
    })?;
    let reserve_tokens = fields.read("reserve_tokens", |n| n.count(0, usize::MAX))?;
    match policy(&fields.need("policy")?)? {
        true => Ok(drops(pinned.unwrap_or_default(), reserve_tokens)),
        false => match ["pinned", "reserve_tokens"].map(|name| fields.get(name)) {
            [None, None] => Ok(Overflow::Error),
            [Some(field), _] | [None, Some(field)] => {
                Err(field.invalid("is for policy \"drop_oldest\""))
            }
        },
    }
}

/// The prompt of as much of `messages` as `policy` lets fit into `capacity` tokens, and
/// what was left out. `encode` makes a prompt of a conversation.
///
/// # Errors
/// `context_overflow` about `messages` with the tokens and the limit; what `encode`
/// reports.
pub(super) fn fit(
    messages: &[Json],
    policy: &Overflow,
    capacity: usize,
    max_tokens: Option<usize>,
    encode: &dyn Fn(&[Json]) -> Result<Vec<u32>>,
) -> Result<(Vec<u32>, Option<Dropped>)> {
    let whole = encode(messages)?;
    let Overflow::DropOldest {
        pinned,
        reserve_tokens,
    } = policy
    else {
        return match whole.len() <= capacity {
            true => Ok((whole, None)),
            false => Err(overflow(&whole, capacity, "")),
        };
    };
    if let Some(reserve) = reserve_tokens
        && *reserve >= capacity
    {
        return Err(invalid(
            "context_overflow.reserve_tokens",
            format!("must be less than the context of {capacity}, is {reserve}"),
        ));
    }
    let reserve = reserve_tokens.unwrap_or_else(|| {
        let most = capacity / RESERVE_PARTS;
        max_tokens.map_or(most, |max| max.min(most))
    });
    let limit = capacity - reserve;
    if whole.len() <= limit {
        return Ok((whole, None));
    }
    let turns = droppable(messages, pinned);
    let without = |n_turns: usize| -> Result<Cut> {
        let dropped: Vec<usize> = turns[..n_turns].concat();
        let kept = messages.iter().enumerate();
        let kept = kept.filter(|(i, _)| !dropped.contains(i));
        let kept: Vec<Json> = kept.map(|(_, message)| message.clone()).collect();
        Ok(Cut {
            prompt: encode(&kept)?,
            dropped,
        })
    };
    // The cut moves by steps as the conversation grows, and stands still in between.
    let step = (capacity / CUT_PARTS).max(1);
    let steps = (whole.len() - limit).div_ceil(step);
    let goal = whole.len().saturating_sub(steps.saturating_mul(step));
    let shortest = without(turns.len())?;
    let cut = match () {
        () if shortest.prompt.len() <= goal => fewest(turns.len(), goal, &without)?,
        () if shortest.prompt.len() <= limit => fewest(turns.len(), limit, &without)?,
        () if shortest.prompt.len() <= capacity => shortest,
        () => return Err(overflow(&shortest.prompt, capacity, " without older turns")),
    };
    let dropped = Dropped {
        dropped_tokens: whole.len().saturating_sub(cut.prompt.len()),
        dropped_messages: cut.dropped,
    };
    let any = !dropped.dropped_messages.is_empty();
    Ok((cut.prompt, any.then_some(dropped)))
}

/// A shorter conversation.
struct Cut {
    prompt: Vec<u32>,
    dropped: Vec<usize>,
}

/// The fewest turns to drop so that the prompt has `limit` tokens at most, where dropping
/// `n_turns` is enough.
fn fewest(n_turns: usize, limit: usize, without: &dyn Fn(usize) -> Result<Cut>) -> Result<Cut> {
    let (mut few, mut enough) = (0, n_turns);
    let mut found = without(enough)?;
    while few + 1 < enough {
        let middle = few.midpoint(enough);
        let cut = without(middle)?;
        match cut.prompt.len() <= limit {
            true => (enough, found) = (middle, cut),
            false => few = middle,
        }
    }
    Ok(found)
}

/// The turns that may be dropped, the oldest first, as the messages to leave out.
fn droppable(messages: &[Json], pinned: &[usize]) -> Vec<Vec<usize>> {
    let is = |i: usize, role: &str| messages[i]["role"] == role;
    let mut turns: Vec<Vec<usize>> = vec![Vec::new()];
    for i in 0..messages.len() {
        if is(i, "user") {
            turns.push(Vec::new());
        }
        if let Some(turn) = turns.last_mut() {
            turn.push(i);
        }
    }
    turns.pop();
    turns.retain(|turn| !turn.iter().any(|i| pinned.contains(i)));
    for turn in &mut turns {
        turn.retain(|&i| !is(i, "system") && !is(i, "developer"));
    }
    turns.retain(|turn| !turn.is_empty());
    turns
}

fn overflow(prompt: &[u32], capacity: usize, what: &str) -> Error {
    let detail = format!(
        "{} tokens{what} do not fit the context of {capacity}",
        prompt.len()
    );
    Error::new(Code::ContextOverflow, "messages", detail)
}

#[cfg(test)]
#[path = "overflow_tests.rs"]
mod tests;
