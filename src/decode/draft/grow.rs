//! A small model that guesses in several ways at once.
//!
//! The tree grows level by level, a pass of the draft each: every node that is to have
//! children is run behind those it follows, and its children are its best tokens under
//! the target's noise at their position. The first child is what a chain would guess.
//! Which of the nodes become text the draft's sequence finds out when it is next asked
//! to go on with it.

use super::{Draft, ModelDrafter, Proposal, Source};
use crate::backend::LogitRows;
use crate::decode::tree::TreeShape;
use crate::error::Result;

/// A node that is to have children.
struct Inner {
    /// Its number in the shape, where the root is 0.
    shape: usize,
    /// Its number in the proposal, and among the nodes that the draft runs; none for
    /// the root.
    node: Option<(u32, u32)>,
    /// The guesses that lead to it, itself the last.
    path: Vec<u32>,
    /// What must follow it, where the constraint leaves no choice.
    forced: Vec<u32>,
}

impl ModelDrafter<'_> {
    /// Guesses a tree of this shape, less what a constraint or a filter leaves no tokens
    /// for; leaves history and constraint somewhere in it.
    pub(super) async fn grow(
        &mut self,
        draft: &mut Draft<'_>,
        shape: &TreeShape,
    ) -> Result<Proposal> {
        let len = draft.history.len();
        if shape.nodes.is_empty() || len + shape.n_inner() > self.executor.capacity_tokens() {
            return self.draw(draft).await;
        }
        let stood = draft
            .constraint
            .as_ref()
            .map(|constraint| constraint.position());
        let mut logits = self.catch_up(draft.history.tokens()).await?;
        let mut proposal = Proposal::certain(Source::Draft, Vec::new());
        let mut level = vec![Inner {
            shape: 0,
            node: None,
            path: Vec::new(),
            forced: Vec::new(),
        }];
        let mut num_run = 0;
        loop {
            let n_vocab = logits.len() / level.len();
            let mut next: Vec<Inner> = Vec::new();
            for (inner, logits) in level.iter().zip(logits.chunks_exact(n_vocab)) {
                go_to(draft, len, stood, &inner.path)?;
                let choices = choices(draft, inner, logits, shape)?;
                let number = inner.node.map_or(0, |(node, _)| node as usize + 1);
                let children = 0..shape.n_children(inner.shape).min(choices.len());
                for rank in children {
                    let Some(child) = shape.child(inner.shape, rank) else {
                        break;
                    };
                    let (token, node) = (choices[rank], proposal.tokens.len() as u32);
                    proposal.tokens.push(token);
                    proposal.parents.push(inner.node.map(|(node, _)| node));
                    if shape.n_children(child) == 0 {
                        continue;
                    }
                    let mut path = inner.path.clone();
                    path.push(token);
                    let forced = forced_after(draft, inner, token)?;
                    next.push(Inner {
                        shape: child,
                        node: Some((node, num_run + next.len() as u32)),
                        path,
                        forced,
                    });
                }
                let known = proposal.choices.len().max(number + 1);
                proposal.choices.resize(known, Vec::new());
                proposal.choices[number] = choices;
            }
            if next.is_empty() {
                return Ok(proposal);
            }
            let run_as = |parent: Option<(u32, u32)>| parent.map(|(_, run)| run);
            let nodes: Vec<(u32, Option<u32>)> = next
                .iter()
                .map(|inner| {
                    let (node, _) = inner.node.unwrap_or_default();
                    let parent = proposal.parents[node as usize];
                    let above = level
                        .iter()
                        .find(|above| above.node.map(|(n, _)| n) == parent);
                    let token = proposal.tokens[node as usize];
                    (token, above.and_then(|above| run_as(above.node)))
                })
                .collect();
            let grown = self.sequence.grow(self.executor, &nodes, LogitRows::All);
            logits = grown.await?;
            num_run += nodes.len() as u32;
            level = next;
        }
    }
}

/// Makes history and constraint what they are once `path` follows the text.
fn go_to(draft: &mut Draft<'_>, len: usize, stood: Option<usize>, path: &[u32]) -> Result<()> {
    draft.history.truncate(len);
    path.iter().for_each(|&token| draft.history.push(token));
    if let (Some(constraint), Some(stood)) = (&mut draft.constraint, stood) {
        constraint.rollback_to(stood)?;
        for &token in path {
            constraint.commit(token)?;
        }
    }
    Ok(())
}

/// What may follow a node, the likeliest first. History and constraint stand at it.
fn choices(
    draft: &mut Draft<'_>,
    inner: &Inner,
    logits: &[f32],
    shape: &TreeShape,
) -> Result<Vec<u32>> {
    if let Some(&token) = inner.forced.first() {
        return Ok(vec![token]);
    }
    let mask = match &mut draft.constraint {
        Some(constraint) => Some(constraint.mask()?),
        None => None,
    };
    let n = shape.n_children(inner.shape).max(draft.n_choices);
    let (history, sampler) = (&*draft.history, &mut *draft.sampler);
    sampler.draw_top(logits, history, mask.as_ref(), n)
}

/// What must follow `token` after a node, at which the constraint stands and stands again
/// afterwards.
fn forced_after(draft: &mut Draft<'_>, inner: &Inner, token: u32) -> Result<Vec<u32>> {
    if let Some((_, rest)) = inner.forced.split_first()
        && !rest.is_empty()
    {
        return Ok(rest.to_vec());
    }
    let Some(constraint) = &mut draft.constraint else {
        return Ok(Vec::new());
    };
    let stood = constraint.position();
    constraint.commit(token)?;
    let forced = constraint.take_forced()?;
    constraint.rollback_to(stood)?;
    Ok(forced)
}
