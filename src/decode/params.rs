//! How tokens are drawn: the numbers a request may set, and their ranges.

use crate::backend::Draw;
use crate::error::{Code, Error, Result};

/// How tokens are drawn. The default is greedy.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the highest.
    pub temperature: f32,
    /// Keep the `k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most likely tokens whose probabilities reach `p`; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least `p` times as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Keep the tokens whose surprise is closest to the entropy, until `p` is reached
    /// (Meister et al., arXiv 2202.00666); 1 keeps all.
    pub typical_p: f32,
    /// Divides positive and multiplies negative logits of every token in prompt or
    /// reply (Keskar et al., arXiv 1909.05858); 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted once for every time the reply holds the token.
    pub frequency_penalty: f32,
    /// Subtracted if the reply holds the token.
    pub presence_penalty: f32,
    /// Penalises tokens that would go on repeating what was said before.
    pub dry: Option<Dry>,
    /// Added to single tokens' logits.
    pub logit_bias: Vec<(u32, f32)>,
    /// The noise is a function of this, the position and the token.
    pub seed: u64,
}

/// DRY ("don't repeat yourself"): a token that would extend a repetition of length
/// `n >= allowed_length` loses `multiplier * base^(n - allowed_length)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// Scale of the penalty.
    pub multiplier: f32,
    /// Growth per token of repetition.
    pub base: f32,
    /// Repetitions up to this many tokens are free.
    pub allowed_length: usize,
    /// How many tokens of history to look at; 0 for all.
    pub last_n_tokens: usize,
    /// Tokens a repetition cannot span: line ends, quotation marks.
    pub breakers: Vec<u32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            dry: None,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Checks every field's range.
    ///
    /// # Errors
    /// `request_invalid`, naming the field.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, ok: bool, range: &str| {
            if ok {
                return Ok(());
            }
            Err(Error::new(
                Code::RequestInvalid,
                name,
                format!("must be {range}, is {value}"),
            ))
        };
        let finite = |x: f32, min: f32, max: f32| x.is_finite() && (min..=max).contains(&x);
        check(
            "temperature",
            self.temperature,
            finite(self.temperature, 0.0, f32::MAX),
            "0 or more",
        )?;
        check(
            "top_p",
            self.top_p,
            finite(self.top_p, 0.0, 1.0),
            "from 0 to 1",
        )?;
        check(
            "min_p",
            self.min_p,
            finite(self.min_p, 0.0, 1.0),
            "from 0 to 1",
        )?;
        check(
            "typical_p",
            self.typical_p,
            finite(self.typical_p, 0.0, 1.0),
            "from 0 to 1",
        )?;
        let repetition = self.repetition_penalty;
        check(
            "repetition_penalty",
            repetition,
            repetition.is_finite() && repetition > 0.0,
            "above 0",
        )?;
        check(
            "frequency_penalty",
            self.frequency_penalty,
            self.frequency_penalty.is_finite(),
            "a number",
        )?;
        check(
            "presence_penalty",
            self.presence_penalty,
            self.presence_penalty.is_finite(),
            "a number",
        )?;
        for &(_, bias) in &self.logit_bias {
            check("logit_bias", bias, !bias.is_nan(), "a number")?;
        }
        if let Some(dry) = &self.dry {
            check(
                "dry.multiplier",
                dry.multiplier,
                finite(dry.multiplier, 0.0, f32::MAX),
                "0 or more",
            )?;
            check(
                "dry.base",
                dry.base,
                finite(dry.base, 1.0, f32::MAX),
                "1 or more",
            )?;
        }
        Ok(())
    }

    /// The same for a device, but for bias and penalties, which are terms of a round
    /// (`super::terms`); `None` where it takes what a device does not have.
    pub fn on_device(&self) -> Option<Draw> {
        let plain = self.typical_p >= 1.0 && self.dry.is_none();
        plain.then_some(Draw {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        })
    }

    pub(super) fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0
    }
}
