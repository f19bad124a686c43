//! What passes cost on this device: what the planner ([`super::planner`]) goes by.
//!
//! Seconds of target passes by their rows, of draft steps, of what a draft has to read, and
//! by how much rounds with trees take more or less than those would say. All of it is kept
//! current by every round, and handed from one reply to the next.

use super::acceptance::Acceptance;
use super::draft::MAX_DRAFT_TOKENS;
pub use super::planner::DraftLength;
use super::round::Clock;
use crate::backend::{CacheId, Draw, Executor, Guesses, LogitRows, Round, Rows};
use crate::error::Result;

/// Weight of a new measurement in a moving average of seconds.
const COST_WEIGHT: f64 = 0.15;
/// What all passes share of it: a long context or a busy machine slows every pass, not just
/// those that happen to be measured.
const SHARED_WEIGHT: f64 = 0.1;
/// And what is a pass's own, beside the others: that of an average over all measurements,
/// and no less than this. Clocks are noisy, and what one width costs beside another changes
/// little.
const OWN_WEIGHT: f64 = 0.04;
/// What another row of a draft's pass costs, of a step, before trees were measured; and
/// what a row of text that it reads costs, before that was.
const DRAFT_ROW: f64 = 0.5;
/// A single measurement cannot say that a round took more than this many times what was
/// expected: it compiled its kernels, or something else ran.
const OUTLIER: f64 = 2.0;
/// What passes cost on this device, in seconds; moving averages.
#[derive(Debug, Clone)]
pub struct Costs {
    /// A target pass over `i` rows; 0 where not measured yet.
    pass_s: [f64; MAX_DRAFT_TOKENS + 2],
    /// How often each was measured and believed.
    tries: [u32; MAX_DRAFT_TOKENS + 2],
    /// One draft step.
    draft_step_s: f64,
    /// What the draft takes for a token of text that it reads, once measured.
    catch_up_token_s: Option<f64>,
    /// Of rounds with trees: seconds over what passes and steps say.
    tree_factor: f64,
    /// How often guesses were right in the latest reply: those of the text itself, and the
    /// draft's.
    pub(super) acceptance: [Acceptance; 2],
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            pass_s: [0.0; MAX_DRAFT_TOKENS + 2],
            tries: [0; MAX_DRAFT_TOKENS + 2],
            draft_step_s: 0.0,
            catch_up_token_s: None,
            tree_factor: 1.0,
            acceptance: Default::default(),
        }
    }
}

impl Costs {
    /// A target pass over `rows` rows takes `seconds`, as was found out with care.
    pub fn know_pass(&mut self, rows: usize, seconds: f64) {
        if let Some(slot) = self.pass_s.get_mut(rows) {
            *slot = seconds;
            self.tries[rows] = 2;
        }
    }

    /// A target pass over `rows` rows took `seconds`.
    pub fn observe_pass(&mut self, rows: usize, seconds: f64) {
        let any = self.pass_s.iter().any(|&pass_s| pass_s > 0.0);
        let expected_s = self.pass_s(rows);
        let is_outlier = any && seconds > OUTLIER * expected_s;
        let seconds = if is_outlier {
            OUTLIER * expected_s
        } else {
            seconds
        };
        let Some(slot) = self.pass_s.get_mut(rows) else {
            return;
        };
        if self.tries[rows] == 0 {
            *slot = seconds;
            self.tries[rows] += u32::from(!is_outlier);
            return;
        }
        let off = seconds / expected_s - 1.0;
        self.tries[rows] += 1;
        let own = OWN_WEIGHT.max(1.0 / f64::from(self.tries[rows]));
        *slot *= 1.0 + own * off;
        let shared = 1.0 + SHARED_WEIGHT * off;
        self.pass_s.iter_mut().for_each(|pass_s| *pass_s *= shared);
        self.draft_step_s *= shared;
        if let Some(token_s) = &mut self.catch_up_token_s {
            *token_s *= shared;
        }
    }

    /// Whether passes over so many rows were measured.
    pub fn knows_pass(&self, rows: usize) -> bool {
        self.tries.get(rows).is_some_and(|&tries| tries > 0)
    }

    /// The least that a pass over `rows` rows may take, for all that is known: no less than
    /// over fewer rows.
    pub fn least_pass_s(&self, rows: usize) -> f64 {
        let expected_s = self.pass_s(rows);
        if self.knows_pass(rows) {
            return expected_s;
        }
        let narrower = (1..rows).rev().find(|&rows| self.knows_pass(rows));
        narrower.map_or(expected_s, |rows| self.pass_s(rows).min(expected_s))
    }

    /// The draft read `tokens` tokens that it lacked, in `seconds`.
    pub fn observe_catch_up(&mut self, tokens: usize, seconds: f64) {
        if tokens > 0 {
            let token_s = self.catch_up_token_s.get_or_insert_default();
            average(token_s, seconds / tokens as f64);
        }
    }

    /// Seconds that the draft takes to read so many tokens.
    pub fn catch_up_s(&self, tokens: usize) -> f64 {
        let assumed_s = DRAFT_ROW * self.draft_step_s();
        tokens as f64 * self.catch_up_token_s.unwrap_or(assumed_s)
    }

    /// A round with a tree took `seconds`.
    pub fn observe_tree(&mut self, tree: TreeSize, seconds: f64) {
        let said = self.tree_s(tree) / self.tree_factor;
        if said > 0.0 {
            let factor = (seconds / said).clamp(1.0 / OUTLIER, OUTLIER * self.tree_factor);
            self.tree_factor += 2.0 * COST_WEIGHT * (factor - self.tree_factor);
        }
    }

    /// A round had no tree: what trees cost is known a little less.
    pub(super) fn forget_trees(&mut self) {
        self.tree_factor += 0.002 * (1.0 - self.tree_factor);
    }

    /// Seconds of a round with a tree.
    pub fn tree_s(&self, tree: TreeSize) -> f64 {
        let rows = tree.draft_rows.saturating_sub(tree.depth) as f64;
        let steps = tree.depth as f64 + DRAFT_ROW * rows;
        self.tree_factor * (steps * self.draft_step_s() + self.pass_s(tree.rows))
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
    /// through the nearest measurements, or half a pass more for every row; no less than
    /// over one row, whatever a noisy clock says.
    pub fn pass_s(&self, rows: usize) -> f64 {
        self.line_s(rows).max(self.pass_s[1])
    }

    fn line_s(&self, rows: usize) -> f64 {
        let point = |i: usize| (i as f64, self.pass_s[i].max(self.pass_s[1]));
        let measured = |i: &usize| self.pass_s[*i] > 0.0;
        let last = rows.min(self.pass_s.len() - 1);
        let below = (1..=last).rev().find(measured).map(point);
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

/// What the cost of a round with a tree depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeSize {
    /// Rows of the target's pass.
    pub rows: usize,
    /// Passes of the draft: a level each.
    pub depth: usize,
    /// Rows of all of them.
    pub draft_rows: usize,
}

/// Row counts that the warm-up times: widths that kernels are made for, and the likeliest to
/// pay between two of them. The others are read off the line between, and tried where they may
/// be worth it.
const WARM_UP_ROWS: [usize; 6] = [1, 2, 3, 4, 5, 8];
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
            costs.know_pass(rows, time_pass(target, rows, clock).await?);
        }
    }
    if let Some(draft) = draft {
        let alone_s = time_pass(draft, 1, clock).await?;
        let step_s = match time_round(target, Some(draft), WARM_UP_DRAFT + 1, clock).await? {
            // What a round takes beyond its pass, which is less than a step by itself; but a
            // difference of noisy measurements may say anything.
            Some(round_s) => {
                let drafting_s = round_s - costs.pass_s(WARM_UP_DRAFT + 1);
                (drafting_s / WARM_UP_DRAFT as f64).clamp(0.25 * alone_s, alone_s)
            }
            None => alone_s,
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
            terms: Default::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_between_measurements_lie_on_the_line() {
        let mut costs = Costs::default();
        costs.observe_pass(1, 1.0);
        assert_eq!(
            costs.pass_s(3),
            2.0,
            "half a pass a row until more is known"
        );
        costs.observe_pass(5, 3.0);
        assert_eq!(costs.pass_s(3), 2.0);
        assert_eq!(costs.pass_s(9), 5.0);
        assert_eq!(costs.pass_s(33), 17.0, "past the widest that is measured");
    }

    #[test]
    fn a_pass_that_compiled_its_kernels_is_not_believed() {
        let mut costs = Costs::default();
        costs.know_pass(1, 1.0);
        costs.observe_pass(2, 500.0);
        assert_eq!(costs.pass_s(2), 3.0, "twice what was to be expected");
        assert_eq!(costs.least_pass_s(2), 1.0, "it may still be a good one");
        costs.observe_pass(2, 1.2);
        assert_eq!((costs.pass_s(2), costs.least_pass_s(2)), (1.2, 1.2));
    }

    #[test]
    fn what_slows_one_pass_slows_the_others() {
        let mut costs = Costs::default();
        costs.know_pass(1, 1.0);
        costs.know_pass(3, 1.5);
        costs.observe_draft(1, 0.1);
        for _ in 0..100 {
            costs.observe_pass(3, 3.0);
        }
        assert!((costs.pass_s(3) - 3.0).abs() < 0.05);
        assert!((1.1..2.1).contains(&costs.pass_s(1)), "{}", costs.pass_s(1));
        // And it is its own cost again once it is measured itself.
        for _ in 0..100 {
            costs.observe_pass(1, 1.0);
        }
        assert!((costs.pass_s(1) - 1.0).abs() < 0.05);
    }

    #[test]
    fn trees_are_what_they_turn_out_to_cost() {
        let mut costs = Costs::default();
        costs.observe_pass(1, 1.0);
        costs.observe_pass(9, 2.0);
        costs.observe_draft(1, 0.1);
        let tree = TreeSize {
            rows: 9,
            depth: 3,
            draft_rows: 5,
        };
        assert!((costs.tree_s(tree) - 2.4).abs() < 1e-9);
        for _ in 0..40 {
            costs.observe_tree(tree, 3.6);
        }
        assert!((costs.tree_s(tree) - 3.6).abs() < 0.01);
        for _ in 0..3000 {
            costs.forget_trees();
        }
        assert!((costs.tree_s(tree) - 2.4).abs() < 0.02);
    }
}
