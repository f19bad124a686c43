//! One round: draft -> verify -> accept.
//!
//! The target's pass runs over the last token and every proposed one. Its draw after
//! each row is the text's next token, whatever was proposed; a proposal only decides
//! whether the row after it was computed from the right prefix. So the tokens are
//! those of plain decoding, by construction: a proposal is accepted when the target
//! drew it, and the first that it did not draw ends the round. (Under
//! [`Verification::Rejection`] the rule is another; the machinery is the same.)

use std::rc::Rc;

use super::constraint::Constraint;
use super::cost::{Costs, TreeSize};
use super::device::DeviceUse;
use super::draft::{Draft, Drafter, MAX_DRAFT_TOKENS, Proposal, Source};
use super::made::{LogprobsWanted, MadeToken, Replaced};
use super::planner::{Choice, DraftLength, Guesser, Observed, Offer, Planner, Room, Tried};
use super::sampling::{History, Sampler};
use super::sequence::{PREFILL_CHUNK_TOKENS, Sequence, child};
use super::statistics::{Noted, Speculation};
use super::verify::Verification;
use crate::backend::{Executor, LogitRows, MAX_TREE_ROWS, Rows};
use crate::error::Result;

/// Seconds since some fixed moment. Injected, because the browser's clock is
/// JavaScript's.
pub type Clock = Rc<dyn Fn() -> f64>;

/// A reply in the making: its history, its sampler, whoever drafts, and the planner.
pub struct Decoder<'d> {
    /// Prompt and reply so far.
    pub history: History,
    /// Whoever drafts, if anyone.
    pub drafter: Option<Box<dyn Drafter + 'd>>,
    pub(super) sampler: Sampler,
    pub(super) verification: Verification,
    pub(super) constraint: Option<Constraint>,
    pub(super) planner: Planner,
    pub(super) stop_ids: Vec<u32>,
    pub(super) wanted: LogprobsWanted,
    pub(super) clock: Clock,
    pub(super) stats: Speculation,
    last_choice: Option<Choice>,
    pub(super) device: DeviceUse,
}

/// What a [`Decoder`] is made of.
pub struct DecoderParts<'d> {
    /// The prompt.
    pub prompt: &'d [u32],
    /// Draws the tokens.
    pub sampler: Sampler,
    /// Whoever drafts, if anyone.
    pub drafter: Option<Box<dyn Drafter + 'd>>,
    /// The rule by which guesses stand.
    pub verification: Verification,
    /// What the reply must look like.
    pub constraint: Option<Constraint>,
    /// How much to draft.
    pub length: DraftLength,
    /// Whether guesses may make a tree; needs [`Verification::Exact`].
    pub trees: bool,
    /// What passes cost, as far as known.
    pub costs: Costs,
    /// Tokens that end the reply.
    pub stop_ids: Vec<u32>,
    /// Which log-probabilities to report.
    pub logprobs: LogprobsWanted,
    /// The time.
    pub clock: Clock,
}

impl<'d> Decoder<'d> {
    /// A reply that is about to begin.
    pub fn new(parts: DecoderParts<'d>) -> Self {
        Self {
            history: History::new(parts.prompt),
            drafter: parts.drafter,
            sampler: parts.sampler,
            verification: parts.verification,
            constraint: parts.constraint,
            planner: Planner::new(parts.length, parts.trees, parts.costs),
            stop_ids: parts.stop_ids,
            wanted: parts.logprobs,
            clock: parts.clock,
            stats: Speculation::default(),
            last_choice: None,
            device: DeviceUse::default(),
        }
    }

    /// What speculation did so far.
    pub fn speculation(&self) -> Speculation {
        self.stats.clone()
    }

    /// The planner's latest choice.
    pub fn last_choice(&self) -> Option<&Choice> {
        self.last_choice.as_ref()
    }

    /// What passes cost, for the next reply to start from.
    pub fn costs(&self) -> &Costs {
        self.planner.costs()
    }

    /// Makes one to `max_tokens` tokens; ends early at a stop token, which is the
    /// last one returned. `sequence` must hold a proper prefix of the history; it does
    /// again afterwards.
    ///
    /// # Errors
    /// `context_overflow`, or what executors, sampler and constraint report. The
    /// history is then as it was.
    pub async fn round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        max_tokens: usize,
    ) -> Result<Vec<MadeToken>> {
        let (len, held) = (self.history.len(), sequence.tokens().len());
        let position = self.constraint.as_ref().map(Constraint::position);
        let result = self.try_round(executor, sequence, max_tokens).await;
        if result.is_err() {
            self.history.truncate(len);
            sequence.truncate(executor, held);
            if let (Some(constraint), Some(position)) = (&mut self.constraint, position) {
                constraint.rollback_to(position)?;
            }
        }
        result
    }

    async fn try_round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        max_tokens: usize,
    ) -> Result<Vec<MadeToken>> {
        // Where a reply must begin in one way only, that is its beginning.
        let mut made = Vec::new();
        self.take_forced(&mut made, max_tokens)?;
        let num_forced = made.len();
        if num_forced == max_tokens {
            return Ok(made);
        }

        let held = sequence.tokens().len();
        let pending = &self.history.tokens()[held..];
        assert!(
            !pending.is_empty(),
            "a round begins behind its history, but the cache holds {held} tokens"
        );
        let num_pending = pending.len();
        let room = executor
            .capacity_tokens()
            .saturating_sub(self.history.len());
        let depth = room.min(max_tokens - num_forced - 1);
        let room = Room {
            depth,
            nodes: room.min(MAX_TREE_ROWS.saturating_sub(num_pending)),
        };
        let looked_up = self.look_up(depth);
        let choice = self.choose(room, &looked_up);
        let start_s = (self.clock)();
        if choice.tree.is_none() {
            let on_device = self.device_round(
                executor, sequence, &choice, &looked_up, &mut made, max_tokens,
            );
            if on_device.await? {
                self.watch(&choice, &looked_up, &made[num_forced..]);
                return Ok(made);
            }
        }

        if choice.guesser == Guesser::Model && choice.num_draft_tokens > 0 {
            self.catch_up(MAX_PENDING_TOKENS).await?;
        }
        let begin_s = (self.clock)();
        let proposal = self.propose(&choice, &looked_up, depth).await?;
        let drafted_s = (self.clock)();
        // A device that turned out not to run rounds may have read some.
        let held = sequence.tokens().len();
        let pending = &self.history.tokens()[held..];
        let num_pending = pending.len();
        let guesses = if choice.look_only {
            None
        } else {
            Some(&proposal)
        };
        let rows = rows(pending, guesses);
        let logits = if rows.parents.is_empty() {
            sequence
                .feed(executor, &rows.tokens, LogitRows::All)
                .await?
        } else {
            let nodes = rows.tokens.iter().zip(&rows.parents);
            let nodes: Vec<_> = nodes.map(|(token, parent)| (*token, *parent)).collect();
            sequence.grow(executor, &nodes, LogitRows::All).await?
        };
        let walk = self.verify(
            &logits,
            &rows,
            num_pending,
            &proposal,
            &mut made,
            max_tokens,
        )?;
        // At least one token stays ahead of the cache, to begin the next round.
        let text = &self.history.tokens()[..self.history.len() - 1];
        if rows.parents.is_empty() {
            sequence.truncate(executor, (held + walk.num_right_rows).min(text.len()));
        } else {
            sequence.keep_common_prefix(executor, text)?;
        }
        let end_s = (self.clock)();

        // Also where nobody verified: whether the guesses would have been right.
        let num_accepted = match choice.look_only {
            false => walk.num_right_rows - num_pending,
            true => {
                let drawn = made[num_forced..].iter().map(|made| made.id);
                let right = proposal.tokens.iter().zip(drawn);
                right.take_while(|(guess, drawn)| **guess == *drawn).count()
            }
        };
        let (num_guesses, depth) = (proposal.tokens.len(), proposal.depth());
        if let (Some(tree), false) = (&choice.tree, proposal.parents.is_empty()) {
            let size = TreeSize {
                rows: rows.len(),
                depth,
                draft_rows: tree.n_inner(),
            };
            self.planner
                .observe_tree(size, &walk.tried, end_s - begin_s);
        } else {
            self.planner.observe(&Observed {
                guesser: choice.guesser,
                num_draft_tokens: num_guesses,
                num_accepted_tokens: num_accepted,
                draft_s: drafted_s - begin_s,
                rows: rows.len(),
                pass_s: end_s - drafted_s,
            });
            self.planner.observe_choices(&walk.tried);
        }
        let verified = if choice.look_only { 0 } else { num_guesses };
        self.stats.note(Noted {
            num_tokens: made.len(),
            num_drawn: made.len() - num_forced,
            num_verified: verified,
            depth,
            num_accepted,
            has_drafted: num_guesses > 0,
            seconds: end_s - start_s,
            plain_step_s: self.planner.costs().pass_s(1),
        });
        self.watch(&choice, &looked_up, &made[num_forced..]);
        Ok(made)
    }

    /// What the text itself suggests.
    fn look_up(&mut self, depth: usize) -> Proposal {
        let nothing = Proposal::certain(Source::Target, Vec::new());
        let Some(drafter) = self.drafter.as_mut().filter(|_| depth > 0) else {
            return nothing;
        };
        drafter.look_up(&mut Draft {
            history: &mut self.history,
            sampler: &mut self.sampler,
            constraint: self.constraint.as_mut(),
            max: depth.min(MAX_DRAFT_TOKENS),
            n_choices: 1,
            shape: None,
        })
    }

    fn choose(&mut self, room: Room, looked_up: &Proposal) -> Choice {
        let Some(drafter) = &mut self.drafter else {
            return Choice::NONE;
        };
        let len = self.history.len();
        let lacks = |sequence: &Sequence| (len - 1).saturating_sub(sequence.tokens().len());
        let offer = Offer {
            looked_up: looked_up.tokens.len(),
            model: match drafter.model() {
                Some((_, sequence)) => Some(lacks(sequence)),
                None => drafter.works().then_some(0),
            },
        };
        let choice = self.planner.choose(room, offer);
        self.stats.num_rounds[choice.reason as usize] += 1;
        self.last_choice = Some(choice.clone());
        choice
    }

    /// Has the draft read some of the text that it lacks, where it is about to guess; says
    /// how many tokens. Before the first round, so that a prompt is read in steps.
    ///
    /// # Errors
    /// What the draft's executor reports.
    pub async fn prepare_draft(&mut self) -> Result<usize> {
        let tokens = self.history.tokens();
        let model = self.drafter.as_mut().and_then(|drafter| drafter.model());
        let Some((executor, sequence)) = model.filter(|_| self.planner.may_use_model()) else {
            return Ok(0);
        };
        if tokens.len() > executor.capacity_tokens() {
            return Ok(0);
        }
        let start_s = (self.clock)();
        let text = &tokens[..tokens.len() - 1];
        let held = sequence.keep_common_prefix(executor, text)?;
        let end = (held + PREFILL_CHUNK_TOKENS).min(text.len());
        if held == end {
            return Ok(0);
        }
        let chunk = &text[held..end];
        sequence.feed(executor, chunk, LogitRows::None).await?;
        executor.settle().await?;
        let seconds = (self.clock)() - start_s;
        self.planner.observe_catch_up(chunk.len(), seconds);
        Ok(end - held)
    }

    /// Has the draft read what it lacks of the text but for a few tokens, which is no
    /// part of what its guesses cost.
    pub(super) async fn catch_up(&mut self, max_pending: usize) -> Result<()> {
        let Some((executor, sequence)) = self.drafter.as_mut().and_then(|drafter| drafter.model())
        else {
            return Ok(());
        };
        let tokens = self.history.tokens();
        if tokens.len() > executor.capacity_tokens() {
            return Ok(()); // it has no guess any more
        }
        let start_s = (self.clock)();
        let kept = sequence.keep_common_prefix(executor, tokens)?;
        let read = sequence.approach(executor, tokens, max_pending).await?;
        if read > kept {
            executor.settle().await?;
            let seconds = (self.clock)() - start_s;
            self.planner.observe_catch_up(read - kept, seconds);
        }
        Ok(())
    }

    /// Sees how good the text's own guesses would have been where they were not used.
    fn watch(&mut self, choice: &Choice, looked_up: &Proposal, made: &[MadeToken]) {
        let used = choice.guesser == Guesser::Text && choice.num_draft_tokens > 0;
        if used || looked_up.tokens.is_empty() {
            return;
        }
        let both = looked_up.tokens.iter().zip(made);
        let (num_known, right) = (
            both.len(),
            both.take_while(|(guess, made)| **guess == made.id),
        );
        let num_right = right.count();
        self.planner
            .observe_guesses(Guesser::Text, num_known, num_right);
    }

    /// Takes whatever the constraint leaves no choice about into the reply.
    pub(super) fn take_forced(
        &mut self,
        made: &mut Vec<MadeToken>,
        max_tokens: usize,
    ) -> Result<()> {
        let Some(constraint) = &mut self.constraint else {
            return Ok(());
        };
        for id in constraint.take_forced()? {
            if made.len() == max_tokens {
                break; // the reply ends here, and nobody asks the constraint again
            }
            self.history.push(id);
            made.push(MadeToken {
                id,
                source: Source::Forced,
                replaced: None,
                logprob: None,
                top_logprobs: Vec::new(),
            });
        }
        Ok(())
    }

    /// Guesses, of which those in a line are at most `depth`.
    async fn propose(
        &mut self,
        choice: &Choice,
        looked_up: &Proposal,
        depth: usize,
    ) -> Result<Proposal> {
        let max = choice.num_draft_tokens;
        let mut proposal = match (&mut self.drafter, choice.guesser) {
            (Some(drafter), Guesser::Model) if max > 0 => {
                let n_choices = self.planner.n_choices();
                let (history, sampler) = (&mut self.history, &mut self.sampler);
                let constraint = self.constraint.as_mut();
                drafter
                    .propose(&mut Draft {
                        history,
                        sampler,
                        constraint,
                        max,
                        n_choices,
                        shape: choice.tree.as_deref(),
                    })
                    .await?
            }
            (Some(_), Guesser::Text) => looked_up.clone(),
            _ => Proposal::certain(Source::Target, Vec::new()),
        };
        proposal.truncate(max);
        if proposal.parents.is_empty() {
            proposal.truncate(depth.min(MAX_DRAFT_TOKENS));
        }
        Ok(proposal)
    }

    /// Draws from the `logits` of `rows` for as long as the draws are among the rows.
    fn verify(
        &mut self,
        logits: &[f32],
        rows: &Rows,
        num_pending: usize,
        proposal: &Proposal,
        made: &mut Vec<MadeToken>,
        max_tokens: usize,
    ) -> Result<Walk> {
        let n_vocab = logits.len() / rows.len();
        let is_chain = rows.parents.is_empty();
        let mut row = num_pending - 1;
        let mut walk = Walk {
            num_right_rows: num_pending,
            tried: Vec::new(),
        };
        loop {
            let logits = &logits[row * n_vocab..][..n_vocab];
            let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
            let guess =
                (is_chain && row + 1 < rows.len()).then_some((proposal, row + 1 - num_pending));
            let sampler = &mut self.sampler;
            let (id, right) =
                self.verification
                    .next(sampler, logits, &self.history, mask.as_ref(), guess)?;
            let right = right || (!is_chain && child(rows, Some(row as u32), id).is_some());
            self.history.push(id);
            let (logprob, top_logprobs) = self.wanted.of(logits, id);
            let source = if right {
                proposal.source
            } else {
                Source::Target
            };
            let guessed = if right {
                None
            } else {
                first_child(rows, row as u32)
            };
            made.push(MadeToken {
                id,
                source,
                replaced: guessed.map(|node| Replaced {
                    id: rows.tokens[node],
                    source: proposal.source,
                }),
                logprob,
                top_logprobs,
            });
            if let Some(choices) = proposal.choices.get(row + 1 - num_pending)
                && !choices.is_empty()
            {
                walk.tried.push(Tried {
                    rank: choices.iter().position(|&choice| choice == id),
                    n_choices: choices.len(),
                });
            }
            let stops = self.stop_ids.contains(&id);
            let drawn_from = made.len() - 1;
            if let (Some(constraint), false) = (&mut self.constraint, stops) {
                constraint.commit(id)?;
                self.take_forced(made, max_tokens)?;
            }
            let said = &made[drawn_from..];
            let mut same = 0;
            for said in said {
                let Some(next) = child(rows, Some(row as u32), said.id) else {
                    break;
                };
                // What was forced was guessed with certainty.
                if same > 0 {
                    walk.tried.push(Tried {
                        rank: Some(0),
                        n_choices: 1,
                    });
                }
                (row, same) = (next as usize, same + 1);
            }
            walk.num_right_rows += same;
            if same < said.len() || stops || made.len() == max_tokens {
                return Ok(walk);
            }
        }
    }
}

/// Tokens that a draft may have to read before its first guess of a round.
const MAX_PENDING_TOKENS: usize = 2;

/// The first guess after a row.
fn first_child(rows: &Rows, row: u32) -> Option<usize> {
    let row = row as usize;
    (row + 1..rows.len()).find(|&node| rows.parent(node) == Some(row))
}

/// How far a round's draws went along its guesses.
struct Walk {
    /// Rows that turned out to be part of the text.
    num_right_rows: usize,
    /// Of each draw whose row the drafter said something about.
    tried: Vec<Tried>,
}

/// The rows of a round: what the cache lacks of the text, and the guesses behind it.
fn rows(pending: &[u32], guesses: Option<&Proposal>) -> Rows {
    let mut rows = Rows::chain(pending);
    let Some(guesses) = guesses else {
        return rows;
    };
    rows.tokens.extend_from_slice(&guesses.tokens);
    if !guesses.parents.is_empty() {
        let num_pending = pending.len() as u32;
        rows.parents
            .extend((0..num_pending).map(|row| row.checked_sub(1)));
        let parents = guesses.parents.iter();
        rows.parents.extend(
            parents.map(|parent| Some(parent.map_or(num_pending - 1, |p| p + num_pending))),
        );
    }
    rows
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
