//! Is this draft fit for this target?
//!
//! A draft with another tokenizer is refused: guesses are compared by id. Everything
//! else only costs speed, and is said in plain words.

use crate::error::{Code, Error, Result};
use crate::tokenizer::Tokenizer;

/// A target should have this many times its draft's parameters: below, drafting costs
/// too large a part of what it saves.
pub const FIT_SIZE_RATIO: f64 = 10.0;

/// One model of a pair, as the check sees it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'m> {
    /// What to call it.
    pub name: &'m str,
    /// Its tokenizer.
    pub tokenizer: &'m Tokenizer,
    /// How many weights it has.
    pub n_parameters: u64,
    /// How many tokens its cache can hold.
    pub capacity_tokens: usize,
}

/// What the check found.
#[derive(Debug, Clone, PartialEq)]
pub struct PairReport {
    /// The target's parameters over the draft's.
    pub size_ratio: f64,
    /// What makes the pair slower than it could be; empty for a fit pair.
    pub warnings: Vec<String>,
}

/// Checks a pair.
///
/// # Errors
/// `pair_mismatch` where the tokenizers differ, naming the first difference.
pub fn check(target: Member<'_>, draft: Member<'_>) -> Result<PairReport> {
    if let Err(difference) = target.tokenizer.same_as(draft.tokenizer) {
        let detail = format!(
            "its tokenizer is not that of {}: {difference} (there: the draft)",
            target.name
        );
        return Err(Error::new(Code::PairMismatch, draft.name, detail));
    }
    let mut warnings = Vec::new();
    let stops = |member: Member<'_>| {
        let mut ids = member.tokenizer.stop_ids().to_vec();
        ids.sort_unstable();
        ids
    };
    if stops(target) != stops(draft) {
        warnings.push(format!(
            "{} and {} end their replies with different tokens: guesses near the end will be wrong",
            target.name, draft.name
        ));
    }
    let size_ratio = target.n_parameters as f64 / draft.n_parameters.max(1) as f64;
    if size_ratio < FIT_SIZE_RATIO {
        warnings.push(format!(
            "{} is only {size_ratio:.1} times as large as {}: a guess costs about {:.0}% of a step of the target, \
             so speculation can gain little, and switches itself off where it would lose",
            target.name,
            draft.name,
            100.0 / size_ratio.max(1.0)
        ));
    }
    if draft.capacity_tokens < target.capacity_tokens {
        warnings.push(format!(
            "{} reads at most {} tokens: beyond them the reply goes on without guesses",
            draft.name, draft.capacity_tokens
        ));
    }
    Ok(PairReport {
        size_ratio,
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Companions;

    fn tokenizer(words: &[&str]) -> Tokenizer {
        let vocab: serde_json::Map<String, serde_json::Value> = words
            .iter()
            .zip(0_u32..)
            .map(|(word, id)| (word.to_string(), id.into()))
            .collect();
        let json = serde_json::json!({
            "version": "1.0",
            "model": { "type": "BPE", "vocab": vocab, "merges": [] },
            "decoder": { "type": "Fuse" },
        });
        Tokenizer::from_json(json.to_string().as_bytes(), &Companions::default()).unwrap()
    }

    fn member<'m>(name: &'m str, tokenizer: &'m Tokenizer, n_parameters: u64) -> Member<'m> {
        Member {
            name,
            tokenizer,
            n_parameters,
            capacity_tokens: 512,
        }
    }

    #[test]
    fn another_tokenizer_is_refused_and_the_first_difference_named() {
        let (a, b) = (tokenizer(&["a", "b", "c"]), tokenizer(&["a", "x", "c"]));
        let error = check(member("large", &a, 1000), member("small", &b, 10)).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::PairMismatch, "small")
        );
        assert!(
            error
                .detail()
                .contains("id 1 is \"b\" here and \"x\" there"),
            "{error}"
        );
    }

    #[test]
    fn a_draft_that_is_too_large_or_too_short_is_warned_of() {
        let same = tokenizer(&["a", "b"]);
        let fit = check(member("large", &same, 1000), member("small", &same, 100)).unwrap();
        assert_eq!(
            fit,
            PairReport {
                size_ratio: 10.0,
                warnings: vec![]
            }
        );
        let small = Member {
            capacity_tokens: 256,
            ..member("small", &same, 500)
        };
        let report = check(member("large", &same, 1000), small).unwrap();
        assert_eq!(report.warnings.len(), 2);
        assert!(report.warnings[0].contains("2.0 times") && report.warnings[1].contains("256"));
    }
}
