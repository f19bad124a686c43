//! How far to guess: the planner.
//!
//! A round that drafts `k` tokens costs `k` draft steps and one target pass over
//! `k + 1` rows, and makes `1 + a1 + a1 a2 + ...` tokens, where `ai` is the chance
//! that the `i`-th guess is right once those before it were. The planner keeps all of
//! these as measured on this device, and takes the `k` with the most tokens a second.
//! Zero is a legal answer: speculation switches itself off where it would lose, and
//! looks again from time to time by drafting without verifying (which costs a draft
//! step, not a wider pass).

use super::draft::MAX_DRAFT_TOKENS;
use super::round::Clock;
use crate::backend::{CacheId, Draw, Executor, Guesses, LogitRows, Round, Rows};
use crate::error::Result;

/// Weight of a new measurement in a moving average of seconds.
const COST_WEIGHT: f64 = 0.15;
/// How fast acceptance forgets: a guess `n` guesses ago counts `0.97^n`.
const ACCEPTANCE_DECAY: f64 = 0.97;
/// Acceptance assumed before anything is known, and how many guesses that is worth.
const PRIOR_ACCEPTANCE: f64 = 0.6;
const PRIOR_GUESSES: f64 = 3.0;
/// Another length must promise this much more before it is taken.
const HYSTERESIS: f64 = 1.02;
/// Rounds between looks while switched off: doubled after every look in vain.
const FIRST_LOOK_ROUNDS: u32 = 16;
const LAST_LOOK_ROUNDS: u32 = 128;

/// A decayed count of hits among tries.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    hits: f64,
    tries: f64,
}

impl Ratio {
    fn observe(&mut self, hit: bool) {
        self.hits = self.hits * ACCEPTANCE_DECAY + f64::from(u8::from(hit));
        self.tries = self.tries * ACCEPTANCE_DECAY + 1.0;
    }

    /// The ratio, leaning towards `prior` while tries are few.
    fn value(self, prior: f64, weight: f64) -> f64 {
        (self.hits + prior * weight) / (self.tries + weight)
    }
}

/// What passes cost on this device, in seconds; moving averages.
#[derive(Debug, Clone)]
pub struct Costs {
    /// A target pass over `i` rows; 0 where not measured yet.
    pass_s: [f64; MAX_DRAFT_TOKENS + 2],
    /// One draft step.
    draft_step_s: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            pass_s: [0.0; MAX_DRAFT_TOKENS + 2],
            draft_step_s: 0.0,
        }
    }
}

impl Costs {
    /// A target pass over `rows` rows took `seconds`.
    pub fn observe_pass(&mut self, rows: usize, seconds: f64) {
        if let Some(slot) = self.pass_s.get_mut(rows) {
            average(slot, seconds);
        }
    }

    /// `tokens` draft steps took `seconds` together.
    pub fn observe_draft(&mut self, tokens: usize, seconds: f64) {
        if tokens > 0 {
            average(&mut self.draft_step_s, seconds / tokens as f64);
        }
    }

    /// What drafting and the pass took each of a round that took `seconds`, where nobody
    /// could look at a clock in between: in the proportion of what is known so far.
    pub fn shares(&self, num_draft_tokens: usize, rows: usize, seconds: f64) -> (f64, f64) {
        let draft_s = num_draft_tokens as f64 * self.draft_step_s();
        let drafting = draft_s / (draft_s + self.pass_s(rows));
        (seconds * drafting, seconds * (1.0 - drafting))
    }

    /// Seconds of a target pass over `rows` rows: measured, or read off the line
    /// through the nearest measurements, or half a pass more for every row.
    pub fn pass_s(&self, rows: usize) -> f64 {
        let point = |i: usize| (i as f64, self.pass_s[i]);
        let measured = |i: &usize| self.pass_s[*i] > 0.0;
        let below = (1..=rows).rev().find(measured).map(point);
        let above = (rows..self.pass_s.len()).find(measured).map(point);
        let at = rows as f64;
        match (below, above) {
            (Some((x, y)), _) if x == at => y,
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (at - x0) / (x1 - x0),
            (Some((x0, y0)), None) => {
                let before = (1..x0 as usize).rev().find(measured).map(point);
                let slope = before.map_or(0.5 * y0 / x0, |(x, y)| ((y0 - y) / (x0 - x)).max(0.0));
                y0 + slope * (at - x0)
            }
            (None, Some((x1, y1))) => y1 * at / x1,
            (None, None) => at,
        }
    }

    /// Seconds of one draft step; a tenth of a target pass until it is measured.
    pub fn draft_step_s(&self) -> f64 {
        if self.draft_step_s > 0.0 {
            self.draft_step_s
        } else {
            0.1 * self.pass_s(1)
        }
    }
}

/// Row counts that the warm-up times; the others are read off the line between them.
const WARM_UP_ROWS: [usize; 4] = [1, 2, 4, 8];
/// Tokens that the draft guesses in the round that the warm-up times.
const WARM_UP_DRAFT: usize = 3;

/// Times passes of target and draft on this device, each the better of two after one
/// that is not counted, and leaves their caches as they were.
///
/// # Errors
/// What the executors report.
pub async fn warm_up(
    target: &mut dyn Executor,
    draft: Option<&mut dyn Executor>,
    clock: &Clock,
) -> Result<Costs> {
    let mut costs = Costs::default();
    for rows in WARM_UP_ROWS {
        if rows <= target.capacity_tokens() {
            costs.observe_pass(rows, time_pass(target, rows, clock).await?);
        }
    }
    if let Some(draft) = draft {
        let step_s = match time_round(target, Some(draft), WARM_UP_DRAFT + 1, clock).await? {
            // What a round takes beyond its pass.
            Some(round_s) => {
                let drafting_s = round_s - costs.pass_s(WARM_UP_DRAFT + 1);
                drafting_s.max(0.01 * round_s) / WARM_UP_DRAFT as f64
            }
            None => time_pass(draft, 1, clock).await?,
        };
        costs.observe_draft(1, step_s);
    }
    Ok(costs)
}

/// A pass as decoding runs it: on the device, with the draws, where that is possible.
async fn time_pass(executor: &mut dyn Executor, rows: usize, clock: &Clock) -> Result<f64> {
    if let Some(seconds) = time_round(executor, None, rows, clock).await? {
        return Ok(seconds);
    }
    let cache = executor.new_cache()?;
    let done = time_forward(executor, cache, rows, clock).await;
    executor.drop_cache(cache);
    done
}

async fn time_forward(
    executor: &mut dyn Executor,
    cache: CacheId,
    rows: usize,
    clock: &Clock,
) -> Result<f64> {
    let rows = Rows::chain(vec![0; rows]);
    let mut best = f64::INFINITY;
    for run in 0..3 {
        executor.truncate(cache, 0);
        let start_s = clock();
        executor.forward(cache, &rows, LogitRows::All).await?;
        if run > 0 {
            best = best.min(clock() - start_s);
        }
    }
    Ok(best)
}

/// A round on the device over so many rows, whose guesses the draft draws or anyone
/// knows; `None` where the device runs no rounds.
async fn time_round(
    target: &mut dyn Executor,
    draft: Option<&mut dyn Executor>,
    rows: usize,
    clock: &Clock,
) -> Result<Option<f64>> {
    let cache = target.new_cache()?;
    let done = match draft {
        None => time_rounds(target, cache, None, rows, clock).await,
        Some(draft) => match draft.new_cache() {
            Ok(own) => {
                let both: Option<(&mut dyn Executor, CacheId)> = Some((&mut *draft, own));
                let done = time_rounds(target, cache, both, rows, clock).await;
                draft.drop_cache(own);
                done
            }
            Err(error) => Err(error),
        },
    };
    target.drop_cache(cache);
    done
}

async fn time_rounds(
    target: &mut dyn Executor,
    cache: CacheId,
    mut draft: Option<(&mut dyn Executor, CacheId)>,
    rows: usize,
    clock: &Clock,
) -> Result<Option<f64>> {
    let tokens = vec![0; rows];
    let draw = Draw {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
    };
    let mut best = f64::INFINITY;
    for run in 0..3 {
        target.truncate(cache, 0);
        let guesses = match &mut draft {
            None => Guesses::Tokens(&tokens[1..]),
            Some((executor, cache)) => {
                executor.truncate(*cache, 0);
                Guesses::Model {
                    executor: *executor,
                    cache: *cache,
                    tokens: &tokens[..1],
                    num_tokens: rows - 1,
                }
            }
        };
        let round = Round {
            tokens: &tokens[..1],
            guesses,
            draw: &draw,
        };
        let start_s = clock();
        if target.round(cache, round).await?.is_none() {
            return Ok(None);
        }
        if run > 0 {
            best = best.min(clock() - start_s);
        }
    }
    Ok(Some(best))
}

fn average(slot: &mut f64, seconds: f64) {
    *slot = if *slot == 0.0 {
        seconds
    } else {
        *slot + COST_WEIGHT * (seconds - *slot)
    };
}

/// How many tokens to draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftLength {
    /// As many as pay on this device, which may be none.
    Auto,
    /// This many every round.
    Fixed(usize),
}

/// The planner's answer for one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Tokens to draft.
    pub num_draft_tokens: usize,
    /// Draft, but let the target pass be one row wide: only to see whether the drafter
    /// would have been right.
    pub look_only: bool,
    /// Tokens a second that this choice promises, over those of plain decoding.
    pub expected_speedup: f64,
}

/// What a round was, as the planner sees it.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Tokens proposed.
    pub num_draft_tokens: usize,
    /// Of those, how many were right before the first wrong one.
    pub num_accepted_tokens: usize,
    /// Time spent proposing.
    pub draft_s: f64,
    /// Rows of the target pass.
    pub rows: usize,
    /// Time of the target pass.
    pub pass_s: f64,
}

/// Chooses a draft length every round.
#[derive(Debug, Clone)]
pub struct Planner {
    length: DraftLength,
    costs: Costs,
    overall: Ratio,
    by_position: [Ratio; MAX_DRAFT_TOKENS],
    current: usize,
    rounds_off: u32,
    look_every: u32,
}

impl Planner {
    /// A planner that starts from `costs` (of the warm-up, or of the last reply).
    pub fn new(length: DraftLength, costs: Costs) -> Self {
        Self {
            length,
            costs,
            overall: Ratio::default(),
            by_position: [Ratio::default(); MAX_DRAFT_TOKENS],
            current: 0,
            rounds_off: 0,
            look_every: FIRST_LOOK_ROUNDS,
        }
    }

    /// The costs as measured so far.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// The chance that the guess at `position` (from 0) is right once those before it were.
    pub fn acceptance(&self, position: usize) -> f64 {
        let overall = self.overall.value(PRIOR_ACCEPTANCE, PRIOR_GUESSES);
        self.by_position[position].value(overall, PRIOR_GUESSES)
    }

    /// Tokens a second of rounds that draft `k`.
    fn tokens_per_s(&self, k: usize) -> f64 {
        let mut reached = 1.0;
        let mut tokens = 1.0;
        for position in 0..k {
            reached *= self.acceptance(position);
            tokens += reached;
        }
        tokens / (k as f64 * self.costs.draft_step_s() + self.costs.pass_s(k + 1))
    }

    /// What to do this round, with room for `max` drafted tokens.
    pub fn choose(&mut self, max: usize) -> Choice {
        let max = max.min(MAX_DRAFT_TOKENS);
        let plain = self.tokens_per_s(0);
        let choice = |k: usize, look_only: bool, rate: f64| Choice {
            num_draft_tokens: k,
            look_only,
            expected_speedup: rate / plain,
        };
        if let DraftLength::Fixed(k) = self.length {
            let k = k.min(max);
            return choice(k, false, self.tokens_per_s(k));
        }
        let rates: Vec<f64> = (0..=max).map(|k| self.tokens_per_s(k)).collect();
        let best = (0..=max)
            .max_by(|&a, &b| rates[a].total_cmp(&rates[b]))
            .unwrap_or(0);
        let current = self.current.min(max);
        let k = if rates[best] > rates[current] * HYSTERESIS {
            best
        } else {
            current
        };
        // Staying is not an excuse for losing.
        let k = if rates[k] < rates[0] { 0 } else { k };
        self.current = k;
        if k > 0 || max == 0 {
            (self.rounds_off, self.look_every) = (0, FIRST_LOOK_ROUNDS);
            return choice(k, false, rates[k]);
        }
        self.rounds_off += 1;
        if self.rounds_off < self.look_every {
            return choice(0, false, plain);
        }
        self.rounds_off = 0;
        self.look_every = (self.look_every * 2).min(LAST_LOOK_ROUNDS);
        choice(1, true, plain)
    }

    /// Takes note of what a round cost and how far it was right.
    pub fn observe(&mut self, round: &Observed) {
        self.costs.observe_pass(round.rows, round.pass_s);
        self.costs
            .observe_draft(round.num_draft_tokens, round.draft_s);
        for position in 0..round
            .num_draft_tokens
            .min(round.num_accepted_tokens + 1)
            .min(MAX_DRAFT_TOKENS)
        {
            let hit = position < round.num_accepted_tokens;
            self.overall.observe(hit);
            self.by_position[position].observe(hit);
        }
    }
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
