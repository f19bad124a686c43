//! Who guesses.
//!
//! A [`Drafter`] proposes how the text goes on. A wrong proposal costs time and
//! nothing else, so drafters are free to guess as they like: a small model
//! ([`ModelDrafter`]), what followed the same words before ([`NgramDrafter`]), or one
//! where the other has nothing to say ([`FirstOf`]).

mod grow;
mod model;
mod ngram;

pub use model::ModelDrafter;
pub use ngram::NgramDrafter;

use super::constraint::Constraint;
use super::sampling::{Distribution, History, Sampler};
use super::sequence::Sequence;
use super::tree::TreeShape;
use crate::backend::Executor;
use crate::error::Result;
use crate::format::LocalFuture;

/// The longest proposal of a round.
pub const MAX_DRAFT_TOKENS: usize = 16;

/// Who proposed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody: the target drew it.
    Target,
    /// The draft model.
    Draft,
    /// The n-gram look-up.
    Ngram,
    /// Nobody had to: the constraint leaves no choice.
    Forced,
}

impl Source {
    /// Its name in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Target => "target",
            Source::Draft => "draft",
            Source::Ngram => "ngram",
            Source::Forced => "forced",
        }
    }
}

/// Some guesses at how the text goes on, and whose they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Whose guesses.
    pub source: Source,
    /// At most as many as were asked for; fewer, or none, where there is no good guess.
    pub tokens: Vec<u32>,
    /// Of each, the earlier guess that it follows (`None`: it follows the text); empty
    /// for a chain. Guesses that follow the same are all different.
    pub parents: Vec<Option<u32>>,
    /// What the drafter would have guessed after the text, and after each of its guesses,
    /// the likeliest first; empty where it does not say.
    pub choices: Vec<Vec<u32>>,
    /// What each token was drawn from, where a [`Drawing::Independent`] drafter drew
    /// it; empty where the guesses are certain of themselves (probability 1 each).
    pub distributions: Vec<Distribution>,
}

impl Proposal {
    /// Guesses that were not drawn from anything.
    pub fn certain(source: Source, tokens: Vec<u32>) -> Self {
        Self {
            source,
            tokens,
            parents: Vec::new(),
            choices: Vec::new(),
            distributions: Vec::new(),
        }
    }

    /// Drops all guesses but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.parents.truncate(len);
    }

    /// How many guesses the longest of its lines has.
    pub fn depth(&self) -> usize {
        if self.parents.is_empty() {
            return self.tokens.len();
        }
        let mut depths: Vec<usize> = Vec::with_capacity(self.parents.len());
        for parent in &self.parents {
            let above = parent.and_then(|parent| depths.get(parent as usize));
            depths.push(above.map_or(1, |depth| depth + 1));
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

/// How a drafter that has a distribution draws from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// With the target's own noise, so as to draw what the target will draw.
    Shared,
    /// With noise of its own, and saying what from: what rejection sampling needs.
    Independent,
}

/// The reply so far, as a drafter sees it: whatever it changes while it tries, it
/// leaves as it was.
pub struct Draft<'a> {
    /// Prompt and reply.
    pub history: &'a mut History,
    /// The target's: whoever draws from a distribution draws with the target's
    /// parameters and noise.
    pub sampler: &'a mut Sampler,
    /// What the reply must look like.
    pub constraint: Option<&'a mut Constraint>,
    /// At most this many tokens.
    pub max: usize,
    /// How many choices to tell of at every step, the guess included.
    pub n_choices: usize,
    /// The tree to guess, of `max` nodes; `None` for a chain. A drafter that knows of one
    /// way only guesses a chain anyhow.
    pub shape: Option<&'a TreeShape>,
}

/// Someone who guesses.
pub trait Drafter {
    /// Up to `draft.max` tokens that may follow.
    ///
    /// # Errors
    /// What an executor reports.
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>>;

    /// Up to `draft.max` tokens that may follow, for which nobody has to work: empty where
    /// guessing is work.
    fn look_up(&mut self, draft: &mut Draft<'_>) -> Proposal {
        let _ = draft;
        Proposal::certain(Source::Target, Vec::new())
    }

    /// Whether there is anyone who guesses where nothing is to be looked up.
    fn works(&self) -> bool {
        true
    }

    /// The model that guesses, and its sequence.
    fn model(&mut self) -> Option<(&mut dyn Executor, &mut Sequence)> {
        None
    }
}

/// Several drafters: what can be looked up is taken from the first that has anything, and
/// else the first works that guesses by working.
pub struct FirstOf<'d>(pub Vec<Box<dyn Drafter + 'd>>);

impl Drafter for FirstOf<'_> {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        match self.0.iter().position(|drafter| drafter.works()) {
            Some(at) => self.0[at].propose(draft),
            None => Box::pin(std::future::ready(Ok(self.look_up(draft)))),
        }
    }

    fn look_up(&mut self, draft: &mut Draft<'_>) -> Proposal {
        let found = self.0.iter_mut().map(|drafter| drafter.look_up(draft));
        let mut found = found.filter(|found| !found.tokens.is_empty());
        found
            .next()
            .unwrap_or_else(|| Proposal::certain(Source::Target, Vec::new()))
    }

    fn works(&self) -> bool {
        self.0.iter().any(|drafter| drafter.works())
    }

    fn model(&mut self) -> Option<(&mut dyn Executor, &mut Sequence)> {
        self.0.iter_mut().find_map(|drafter| drafter.model())
    }
}
