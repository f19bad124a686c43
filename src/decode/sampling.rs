//! A row of logits and what was said so far -> one token.
//!
//! The order is fixed: `logit_bias`, then penalties (repetition, frequency and
//! presence, DRY), then the mask of allowed tokens, then temperature, then the
//! filters top-k, typical, top-p, min-p (each over what the one before left,
//! renormalised), then the Gumbel draw. At temperature 0 the filters do nothing and
//! the highest logit wins; ties go to the lowest id.
//!
//! Definitions follow Hugging Face transformers (repetition penalty, top-k, top-p,
//! min-p, typical), OpenAI (frequency, presence, logit bias) and the DRY sampler of
//! text-generation-webui.

use std::cmp::Ordering;
use std::collections::HashMap;

pub use super::history::History;
use super::noise::gumbel;
pub use super::params::{Dry, SamplingParams};
use crate::error::{Code, Error, Result};

/// A bit a token: whether it may be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask(Vec<u32>);

impl TokenMask {
    /// A mask over `n_vocab` tokens that allows none.
    pub fn none(n_vocab: usize) -> Self {
        Self(vec![0; n_vocab.div_ceil(32)])
    }

    /// A mask of 32 tokens a word, the lowest id in the lowest bit.
    pub fn from_words(words: Vec<u32>) -> Self {
        Self(words)
    }

    /// The words.
    pub(super) fn into_words(self) -> Vec<u32> {
        self.0
    }

    /// Allows a token.
    pub fn allow(&mut self, token: u32) {
        self.0[token as usize / 32] |= 1 << (token % 32);
    }

    /// Whether a token is allowed.
    pub fn allows(&self, token: u32) -> bool {
        self.0
            .get(token as usize / 32)
            .is_some_and(|word| word >> (token % 32) & 1 == 1)
    }
}

/// Probabilities of the tokens that have any.
pub type Distribution = Vec<(u32, f64)>;

/// Draws tokens. Owns only scratch space: a draw is a pure function of parameters,
/// logits, history and mask.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    scores: Vec<f32>,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    score: f32,
}

/// Likelier first; ties to the lowest id.
fn by_score(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.token.cmp(&b.token))
}

impl Sampler {
    /// A sampler with checked parameters.
    ///
    /// # Errors
    /// `request_invalid`, naming the field.
    pub fn new(params: SamplingParams) -> Result<Self> {
        params.validate()?;
        Ok(Self {
            params,
            scores: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Draws the token that follows `history` from its `logits` `[vocab]`.
    ///
    /// # Errors
    /// `request_invalid` where the mask allows no token.
    pub fn draw(
        &mut self,
        logits: &[f32],
        history: &History,
        mask: Option<&TokenMask>,
    ) -> Result<u32> {
        self.perturb(logits, history, mask);
        let best = self.candidates.iter().copied().min_by(by_score);
        best.map(|candidate| candidate.token)
            .ok_or_else(nothing_allowed)
    }

    /// The token that [`Sampler::draw`] draws, and those that it would draw were the ones
    /// before them not there: the `n` best under the noise, or as many as there are. They
    /// are a sample without replacement (Kool et al., arXiv 1903.06059).
    ///
    /// # Errors
    /// As [`Sampler::draw`].
    pub fn draw_top(
        &mut self,
        logits: &[f32],
        history: &History,
        mask: Option<&TokenMask>,
        n: usize,
    ) -> Result<Vec<u32>> {
        self.perturb(logits, history, mask);
        let candidates = &mut self.candidates;
        if candidates.is_empty() {
            return Err(nothing_allowed());
        }
        if n < candidates.len() {
            candidates.select_nth_unstable_by(n.max(1) - 1, by_score);
            candidates.truncate(n.max(1));
        }
        candidates.sort_unstable_by(by_score);
        Ok(candidates.iter().map(|candidate| candidate.token).collect())
    }

    /// Scores, filters and adds the position's noise.
    fn perturb(&mut self, logits: &[f32], history: &History, mask: Option<&TokenMask>) {
        self.score(logits, history, mask);
        let position = history.len() as u32;
        if self.params.temperature > 0.0 {
            self.filter();
            let seed = self.params.seed;
            for candidate in &mut self.candidates {
                candidate.score += gumbel(seed, position, candidate.token);
            }
        }
    }

    /// The distribution that [`Sampler::draw`] draws from, as `(token, probability)`
    /// of every token that has any; one token at temperature 0.
    pub fn distribution(
        &mut self,
        logits: &[f32],
        history: &History,
        mask: Option<&TokenMask>,
    ) -> Distribution {
        self.score(logits, history, mask);
        if self.params.temperature == 0.0 {
            let best = self.candidates.iter().copied().min_by(by_score);
            return best
                .map(|candidate| (candidate.token, 1.0))
                .into_iter()
                .collect();
        }
        self.filter();
        let max = max_score(&self.candidates);
        let total = partition(&self.candidates, max);
        let probability = |score: f32| f64::from(score - max).exp() / total;
        self.candidates
            .iter()
            .map(|c| (c.token, probability(c.score)))
            .collect()
    }

    /// The tokens that could be drawn, likelier first: what a test compares.
    pub fn filtered(
        &mut self,
        logits: &[f32],
        history: &History,
        mask: Option<&TokenMask>,
    ) -> Vec<u32> {
        self.score(logits, history, mask);
        if self.params.temperature > 0.0 {
            self.filter();
        }
        self.candidates.sort_unstable_by(by_score);
        self.candidates
            .iter()
            .map(|candidate| candidate.token)
            .collect()
    }

    /// Bias, penalties, mask and temperature; fills `candidates`.
    fn score(&mut self, logits: &[f32], history: &History, mask: Option<&TokenMask>) {
        let p = &self.params;
        let scores = &mut self.scores;
        scores.clear();
        scores.extend_from_slice(logits);
        for &(token, bias) in &p.logit_bias {
            if let Some(score) = scores.get_mut(token as usize) {
                *score += bias;
            }
        }
        if p.has_penalties() {
            // A product is the same on every device, a quotient is not.
            let inverse = 1.0 / p.repetition_penalty;
            let only_prompt = history
                .in_prompt
                .keys()
                .filter(|token| !history.in_reply.contains_key(token));
            for &token in only_prompt.chain(history.in_reply.keys()) {
                let Some(score) = scores.get_mut(token as usize) else {
                    continue;
                };
                *score *= if *score > 0.0 {
                    inverse
                } else {
                    p.repetition_penalty
                };
                let count = history.in_reply.get(&token).copied().unwrap_or(0);
                if count > 0 {
                    *score -= p.frequency_penalty * count as f32 + p.presence_penalty;
                }
            }
        }
        if let Some(dry) = &p.dry {
            for (token, length) in repetitions(history.tokens(), dry) {
                if let Some(score) = scores.get_mut(token as usize) {
                    *score -= dry.multiplier * dry.base.powi((length - dry.allowed_length) as i32);
                }
            }
        }
        let inverse = if p.temperature > 0.0 {
            1.0 / p.temperature
        } else {
            1.0
        };
        self.candidates.clear();
        for (token, &score) in scores.iter().enumerate() {
            let token = token as u32;
            if score > f32::NEG_INFINITY && mask.is_none_or(|mask| mask.allows(token)) {
                self.candidates.push(Candidate {
                    token,
                    score: score * inverse,
                });
            }
        }
    }

    /// Top-k, typical, top-p, min-p over `candidates`. At least one stays.
    fn filter(&mut self) {
        let p = &self.params;
        let candidates = &mut self.candidates;
        if p.top_k > 0 && p.top_k < candidates.len() {
            candidates.select_nth_unstable_by(p.top_k - 1, by_score);
            candidates.truncate(p.top_k);
        }
        if p.typical_p < 1.0 {
            keep_typical(candidates, p.typical_p);
        }
        if p.top_p < 1.0 {
            keep_top_p(candidates, p.top_p);
        }
        if p.min_p > 0.0 {
            let floor = max_score(candidates) + p.min_p.ln();
            candidates.retain(|candidate| candidate.score >= floor);
        }
    }
}

fn nothing_allowed() -> Error {
    let detail = "no token is allowed at this point";
    Error::new(Code::RequestInvalid, "constraint", detail)
}

fn max_score(candidates: &[Candidate]) -> f32 {
    candidates
        .iter()
        .map(|candidate| candidate.score)
        .fold(f32::NEG_INFINITY, f32::max)
}

/// `sum(exp(score - max))`, in `f64` so that its order hardly matters.
fn partition(candidates: &[Candidate], max: f32) -> f64 {
    candidates
        .iter()
        .map(|candidate| f64::from(candidate.score - max).exp())
        .sum()
}

/// The fewest likeliest tokens whose probabilities reach `top_p`. Only as much of the
/// list is sorted as is needed: a vocabulary is long, a nucleus is short.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: f32) {
    let max = max_score(candidates);
    let need = f64::from(top_p) * partition(candidates, max);
    let (mut sorted, mut reached, mut chunk) = (0, 0.0, 64);
    while sorted < candidates.len() {
        let end = (sorted + chunk).min(candidates.len());
        if end < candidates.len() {
            candidates[sorted..].select_nth_unstable_by(end - sorted, by_score);
        }
        candidates[sorted..end].sort_unstable_by(by_score);
        for i in sorted..end {
            reached += f64::from(candidates[i].score - max).exp();
            if reached >= need {
                candidates.truncate(i + 1);
                return;
            }
        }
        (sorted, chunk) = (end, chunk * 4);
    }
}

/// The tokens whose surprise is closest to the entropy, until their probabilities
/// reach `typical_p`.
fn keep_typical(candidates: &mut Vec<Candidate>, typical_p: f32) {
    let max = max_score(candidates);
    let total = partition(candidates, max);
    let surprise = |candidate: &Candidate| total.ln() - f64::from(candidate.score - max);
    let entropy: f64 = candidates
        .iter()
        .map(|c| surprise(c) * (-surprise(c)).exp())
        .sum();
    candidates.sort_by(|a, b| {
        let distance = |c| (surprise(c) - entropy).abs();
        distance(a).total_cmp(&distance(b)).then(by_score(a, b))
    });
    let mut reached = 0.0;
    let enough = candidates.iter().position(|candidate| {
        reached += (-surprise(candidate)).exp();
        reached >= f64::from(typical_p)
    });
    candidates.truncate(enough.map_or(candidates.len(), |i| i + 1));
}

/// For every token that would extend a repetition: the length of the longest one it
/// would extend, if that is `allowed_length` or more.
fn repetitions(tokens: &[u32], dry: &Dry) -> HashMap<u32, usize> {
    const LONGEST: usize = 64; // the penalty is astronomic long before
    let window = if dry.last_n_tokens == 0 {
        tokens.len()
    } else {
        dry.last_n_tokens.min(tokens.len())
    };
    let tokens = &tokens[tokens.len() - window..];
    let mut longest = HashMap::new();
    for end in 1..tokens.len() {
        let matched = (0..end.min(LONGEST))
            .take_while(|&back| {
                let token = tokens[end - 1 - back];
                token == tokens[tokens.len() - 1 - back] && !dry.breakers.contains(&token)
            })
            .count();
        if matched >= dry.allowed_length.max(1) && !dry.breakers.contains(&tokens[end]) {
            let best = longest.entry(tokens[end]).or_insert(0);
            *best = matched.max(*best);
        }
    }
    longest
}

/// `log softmax(logits)[token]`, the model's own, before any bias, penalty or
/// temperature, and the `n_top` likeliest tokens with theirs.
pub fn logprobs(logits: &[f32], token: u32, n_top: usize) -> (f32, Vec<(u32, f32)>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - max).exp())
        .sum();
    let of = |logit: f32| (f64::from(logit - max) - total.ln()) as f32;
    let mut all: Vec<Candidate> = Vec::new();
    if n_top > 0 {
        all.extend(
            logits
                .iter()
                .zip(0..)
                .map(|(&score, token)| Candidate { token, score }),
        );
        if n_top < all.len() {
            all.select_nth_unstable_by(n_top - 1, by_score);
            all.truncate(n_top);
        }
        all.sort_unstable_by(by_score);
    }
    (
        of(logits[token as usize]),
        all.into_iter().map(|c| (c.token, of(c.score))).collect(),
    )
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
