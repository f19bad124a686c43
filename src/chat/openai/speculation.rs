//! `speculation`: how a request wants guesses made, and what came of them.

use serde::Serialize;

use super::fields::{Field, invalid};
use crate::decode::GenerateOptions;
use crate::decode::cost::DraftLength;
use crate::decode::draft::{MAX_DRAFT_TOKENS, NgramDrafter};
use crate::decode::planner::Choice;
use crate::decode::statistics::Speculation;
use crate::decode::verify::Verification;
use crate::error::Result;

/// The fields of `speculation` in a request.
pub const FIELDS: &[&str] = &["mode", "draft_length", "drafter", "verification", "rounds"];

/// How far to guess.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// As far as pays on this device, which may be not at all.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// This many tokens every round.
    Fixed(usize),
}

/// Who guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrafterChoice {
    /// The draft model.
    Model,
    /// What the text itself said before.
    Ngram,
    /// The text itself where it has something to say, else the model.
    Both,
}

/// How a request wants guesses made. None of it changes the text, except that
/// `rejection` keeps only its distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speculating {
    /// How far.
    pub mode: Mode,
    /// By whom; the model where there is one, when not given.
    pub drafter: Option<DrafterChoice>,
    /// By which rule guesses stand.
    pub verification: Verification,
    /// Whether pieces of a stream say what the rounds behind them did.
    pub rounds: bool,
}

/// `mode`'s words.
pub const MODES: &[&str] = &["auto", "off", "fixed", "tree"];

pub(super) fn read(field: &Field<'_>) -> Result<Speculating> {
    let fields = field.object(FIELDS)?;
    let length = fields.get("draft_length");
    let mode = match fields.get("mode") {
        None => "auto",
        Some(mode) => {
            let words: Vec<(&str, ())> = MODES.iter().map(|mode| (*mode, ())).collect();
            mode.one_of(&words)?;
            mode.string()?
        }
    };
    let mode = match (mode, length) {
        ("fixed", None) => {
            let path = fields.path_of("draft_length");
            return Err(invalid(path, "is missing: mode is \"fixed\""));
        }
        ("fixed", Some(length)) => Mode::Fixed(length.count(1, MAX_DRAFT_TOKENS)?),
        ("tree", _) => {
            let path = fields.path_of("mode");
            return Err(invalid(
                path,
                "\"tree\" is not supported by this engine yet",
            ));
        }
        (mode, Some(length)) => {
            return Err(length.invalid(format!("is for mode \"fixed\", mode is {mode:?}")));
        }
        ("off", None) => Mode::Off,
        _ => Mode::Auto,
    };
    let drafter = fields.read("drafter", |drafter| {
        drafter.one_of(&[
            ("model", DrafterChoice::Model),
            ("ngram", DrafterChoice::Ngram),
            ("both", DrafterChoice::Both),
        ])
    })?;
    let verification = fields.read("verification", |rule| {
        rule.one_of(&[
            ("exact", Verification::Exact),
            ("rejection", Verification::Rejection),
        ])
    })?;
    Ok(Speculating {
        mode,
        drafter,
        verification: verification.unwrap_or_default(),
        rounds: fields.read("rounds", Field::bool)?.unwrap_or(false),
    })
}

impl Speculating {
    /// Puts it into a reply's options.
    ///
    /// # Errors
    /// `request_invalid` where a draft model is asked for that is not loaded.
    pub(super) fn apply(self, has_draft: bool, options: &mut GenerateOptions) -> Result<()> {
        let wants_model = matches!(
            self.drafter,
            Some(DrafterChoice::Model | DrafterChoice::Both)
        );
        if wants_model && !has_draft {
            return Err(invalid("speculation.drafter", "no draft model is loaded"));
        }
        options.draft_length = match self.mode {
            Mode::Auto => DraftLength::Auto,
            Mode::Off => DraftLength::Fixed(0),
            Mode::Fixed(length) => DraftLength::Fixed(length),
        };
        options.verification = self.verification;
        let ngram = matches!(
            self.drafter,
            Some(DrafterChoice::Ngram | DrafterChoice::Both)
        );
        options.ngram = (ngram && self.mode != Mode::Off).then(NgramDrafter::default);
        options.draft_model = self.mode != Mode::Off && self.drafter != Some(DrafterChoice::Ngram);
        Ok(())
    }
}

/// What the rounds behind a piece did, and how far the planner means to guess: the field
/// `round` of a piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Round {
    /// Tokens drafted and verified.
    pub num_draft_tokens: usize,
    /// Of those, how many became text.
    pub num_accepted_tokens: usize,
    /// Tokens that the planner had drafted in the last of them.
    pub planned_draft_tokens: usize,
    /// Tokens a second that the planner expects of that, over those of plain decoding.
    pub expected_speedup: f64,
    /// Whether it only looked if guessing would pay.
    pub look_only: bool,
}

impl Round {
    /// What was done between two moments of a reply, by the planner's last `choice`.
    pub(super) fn between(
        before: &Speculation,
        now: &Speculation,
        choice: Option<&Choice>,
    ) -> Self {
        Self {
            num_draft_tokens: now.num_draft_tokens - before.num_draft_tokens,
            num_accepted_tokens: now.num_accepted_tokens - before.num_accepted_tokens,
            planned_draft_tokens: choice.map_or(0, |choice| choice.num_draft_tokens),
            expected_speedup: choice.map_or(1.0, |choice| choice.expected_speedup),
            look_only: choice.is_some_and(|choice| choice.look_only),
        }
    }
}

/// What speculation did: the field `speculation` of a reply.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpeculationStats {
    /// Rounds in which something was drafted and verified.
    pub num_drafts: usize,
    /// Tokens drafted in them.
    pub num_draft_tokens: usize,
    /// Of those, how many became text.
    pub num_accepted_tokens: usize,
    /// The same by position in the draft.
    pub accepted_per_position: Vec<usize>,
    /// Tokens that a verified round made, on average.
    pub mean_acceptance_length: f64,
    /// How many times as fast as plain decoding would have been, whose steps are measured
    /// meanwhile: 1 where nothing was drafted; null where none was measured in time.
    pub speedup: Option<f64>,
}

impl SpeculationStats {
    /// The same under the names of the interface.
    pub fn of(speculation: &Speculation) -> Self {
        Self {
            num_drafts: speculation.num_drafts,
            num_draft_tokens: speculation.num_draft_tokens,
            num_accepted_tokens: speculation.num_accepted_tokens,
            accepted_per_position: speculation.accepted_per_position.clone(),
            mean_acceptance_length: speculation.mean_acceptance_length(),
            speedup: speculation.speedup(),
        }
    }
}

/// Adds what another reply's speculation did.
pub(super) fn add(sum: &mut Speculation, more: &Speculation) {
    sum.num_drafts += more.num_drafts;
    sum.num_draft_tokens += more.num_draft_tokens;
    sum.num_accepted_tokens += more.num_accepted_tokens;
    sum.num_tokens += more.num_tokens;
    sum.decode_s += more.decode_s;
    sum.plain_s += more.plain_s;
    sum.num_unmeasured += more.num_unmeasured;
    let positions = sum
        .accepted_per_position
        .len()
        .max(more.accepted_per_position.len());
    sum.accepted_per_position.resize(positions, 0);
    let both = sum.accepted_per_position.iter_mut();
    for (sum, more) in both.zip(&more.accepted_per_position) {
        *sum += more;
    }
}
