//! The parts of a `tokenizer.json` -> stages of the `tokenizers` crate, once they are
//! known to be harmless.
//!
//! That crate trusts its files: some parts make it panic, loop or grow without bound.
//! Each such part is named here and refused.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use super::charsmap;
use super::{Affixes, invalid, unsupported};
use crate::error::Result;

/// More steps than any tokenizer has.
const MAX_STEPS: usize = 32;
/// How much longer a chain of replacements may make a text.
const MAX_GROWTH: usize = 1024;
/// No pattern of a tokenizer is longer.
const MAX_PATTERN_BYTES: usize = 1 << 16;
/// Compiled, the largest that people use takes a few hundred thousand bytes.
const MAX_COMPILED_BYTES: usize = 2 << 20;

/// Reads the `normalizer`.
pub(super) fn normalizer(part: Value) -> Result<Option<NormalizerWrapper>> {
    const SUBJECT: &str = "tokenizer.json: normalizer";
    if part.is_null() {
        return Ok(None);
    }
    let mut check = Check::new(SUBJECT);
    check.normalizer(&part)?;
    read(part, SUBJECT).map(Some)
}

/// Reads the `pre_tokenizer`.
pub(super) fn pre_tokenizer(part: Value) -> Result<Option<PreTokenizerWrapper>> {
    const SUBJECT: &str = "tokenizer.json: pre_tokenizer";
    if part.is_null() {
        return Ok(None);
    }
    let mut check = Check::new(SUBJECT);
    check.pre_tokenizer(&part)?;
    read(part, SUBJECT).map(Some)
}

/// A part that passed its check, as the crate's type.
pub(super) fn read<T: DeserializeOwned>(part: Value, subject: &str) -> Result<T> {
    serde_json::from_value(part).map_err(|e| invalid(subject, e.to_string()))
}

struct Check {
    subject: &'static str,
    n_steps: usize,
    n_byte_levels: usize,
    growth: usize,
}

impl Check {
    fn new(subject: &'static str) -> Self {
        Self {
            subject,
            n_steps: 0,
            n_byte_levels: 0,
            growth: 1,
        }
    }

    fn refuse<T>(&self, detail: impl Into<String>) -> Result<T> {
        Err(invalid(self.subject, detail))
    }

    /// Counts a step and names it.
    fn step<'v>(&mut self, part: &'v Value) -> Result<&'v str> {
        self.n_steps += 1;
        if self.n_steps > MAX_STEPS {
            return self.refuse(format!("has more than {MAX_STEPS} steps"));
        }
        match part["type"].as_str() {
            Some(kind) => Ok(kind),
            None => self.refuse("has no type"),
        }
    }

    fn byte_level(&mut self) -> Result<()> {
        // Each spells bytes in two: twice would already be a mistake.
        self.n_byte_levels += 1;
        if self.n_byte_levels > 1 {
            return self.refuse("spells bytes more than once");
        }
        Ok(())
    }

    fn normalizer(&mut self, part: &Value) -> Result<()> {
        match self.step(part)? {
            "Sequence" => {
                let Some(steps) = part["normalizers"].as_array() else {
                    return self.refuse("Sequence has no `normalizers`");
                };
                steps.iter().try_for_each(|step| self.normalizer(step))
            }
            "ByteLevel" => self.byte_level(),
            "Prepend" => {
                let n = part["prepend"].as_str().map_or(0, str::len);
                self.grow(1 + n)
            }
            "Replace" => {
                let n = part["content"].as_str().map_or(0, str::len);
                let replaced = match part["pattern"]["String"].as_str() {
                    Some(pattern) => pattern.len(),
                    None => self.regex(&part["pattern"]["Regex"])?,
                };
                if replaced == 0 {
                    return self.refuse("Replace matches the empty text");
                }
                self.grow(n.div_ceil(replaced).max(1))
            }
            "Precompiled" => match charsmap::check(&part["precompiled_charsmap"]) {
                Ok(()) => Ok(()),
                Err(detail) => self.refuse(format!("precompiled_charsmap {detail}")),
            },
            "BertNormalizer" | "Bert" | "Strip" | "StripAccents" | "NFC" | "NFD" | "NFKC"
            | "NFKD" | "Lowercase" | "Nmt" => Ok(()),
            other => Err(unsupported(self.subject, format!("unknown type {other:?}"))),
        }
    }

    fn grow(&mut self, factor: usize) -> Result<()> {
        self.growth = self.growth.saturating_mul(factor);
        if self.growth > MAX_GROWTH {
            return self.refuse(format!("makes text more than {MAX_GROWTH} times as long"));
        }
        Ok(())
    }

    /// A regular expression of a sane size, and how much it matches at least.
    fn regex(&self, pattern: &Value) -> Result<usize> {
        let Some(pattern) = pattern.as_str() else {
            return self.refuse("a pattern is neither String nor Regex");
        };
        if pattern.len() > MAX_PATTERN_BYTES {
            return self.refuse("a pattern is too long");
        }
        let mut compiled = fancy_regex::RegexBuilder::new(pattern);
        compiled.delegate_size_limit(MAX_COMPILED_BYTES);
        match compiled.build() {
            Ok(_) => Ok(usize::from(!pattern.is_empty())),
            Err(error) => self.refuse(format!("a pattern does not compile: {error}")),
        }
    }

    fn pre_tokenizer(&mut self, part: &Value) -> Result<()> {
        match self.step(part)? {
            "Sequence" => {
                let Some(steps) = part["pretokenizers"].as_array() else {
                    return self.refuse("Sequence has no `pretokenizers`");
                };
                steps.iter().try_for_each(|step| self.pre_tokenizer(step))
            }
            "ByteLevel" => self.byte_level(),
            "Split" => {
                if part["pattern"]["String"].is_null() {
                    self.regex(&part["pattern"]["Regex"])?;
                }
                Ok(())
            }
            "FixedLength" => match part.get("length").map(Value::as_u64) {
                None | Some(Some(1..)) => Ok(()),
                _ => self.refuse("FixedLength.length is not a positive number"),
            },
            "Metaspace" => {
                // A space that stands for a space would be put in front of itself.
                if part["replacement"] == " " {
                    return self.refuse("Metaspace.replacement is a space");
                }
                Ok(())
            }
            "BertPreTokenizer" | "Delimiter" | "CharDelimiterSplit" | "Whitespace"
            | "WhitespaceSplit" | "Punctuation" | "Digits" | "UnicodeScripts" => Ok(()),
            other => Err(unsupported(self.subject, format!("unknown type {other:?}"))),
        }
    }
}

/// Reads what the `post_processor` adds around one text.
pub(super) fn affixes(part: &Value) -> Result<Affixes> {
    let mut affixes = Affixes::default();
    add_affixes(part, &mut affixes, 0)?;
    Ok(affixes)
}

fn add_affixes(part: &Value, affixes: &mut Affixes, depth: usize) -> Result<()> {
    const SUBJECT: &str = "tokenizer.json: post_processor";
    if part.is_null() {
        return Ok(());
    }
    let (before, after) = match part["type"].as_str() {
        Some("ByteLevel") => return Ok(()),
        Some("Sequence") => {
            let steps = part["processors"].as_array();
            let steps = steps.ok_or_else(|| invalid(SUBJECT, "Sequence has no `processors`"))?;
            if depth > 4 || steps.len() > MAX_STEPS {
                return Err(invalid(SUBJECT, "is nested too deep or too long"));
            }
            for step in steps {
                add_affixes(step, affixes, depth + 1)?;
            }
            return Ok(());
        }
        Some("TemplateProcessing") => template(part)?,
        // [CLS] A [SEP]
        Some("BertProcessing" | "RobertaProcessing") => {
            let id = |name: &str| {
                let id = part[name][1].as_u64().and_then(|id| u32::try_from(id).ok());
                id.ok_or_else(|| invalid(SUBJECT, format!("`{name}` has no id")))
            };
            (vec![id("cls")?], vec![id("sep")?])
        }
        other => {
            let detail = format!("unknown type {:?}", other.unwrap_or("(none)"));
            return Err(unsupported(SUBJECT, detail));
        }
    };
    // What a later step adds goes outside of what an earlier one added.
    affixes.prefix.splice(0..0, before);
    affixes.suffix.extend(after);
    Ok(())
}

/// The ids before and after the text in the template for a single text.
fn template(part: &Value) -> Result<(Vec<u32>, Vec<u32>)> {
    const SUBJECT: &str = "tokenizer.json: post_processor.single";
    let pieces = part["single"].as_array();
    let pieces = pieces.ok_or_else(|| invalid(SUBJECT, "is not a list"))?;
    if pieces.len() > MAX_STEPS {
        return Err(invalid(SUBJECT, "is too long"));
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut n_texts = 0;
    for piece in pieces {
        if !piece["Sequence"].is_null() {
            n_texts += 1;
            continue;
        }
        let name = piece["SpecialToken"]["id"].as_str();
        let name = name.ok_or_else(|| invalid(SUBJECT, "holds neither a token nor a text"))?;
        let ids = part["special_tokens"][name]["ids"].as_array();
        let ids = ids.filter(|ids| ids.len() <= MAX_STEPS);
        let ids = ids.ok_or_else(|| invalid(SUBJECT, format!("{name:?} has no ids")))?;
        for id in ids {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| invalid(SUBJECT, format!("{name:?} has no ids")))?;
            if n_texts == 0 {
                before.push(id);
            } else {
                after.push(id);
            }
        }
    }
    if n_texts != 1 {
        return Err(invalid(SUBJECT, format!("holds the text {n_texts} times")));
    }
    Ok((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use serde_json::json;

    #[test]
    fn what_would_grow_loop_or_panic_is_refused_by_name() {
        let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let chain = json!({"type": "Sequence", "normalizers": vec![double; 20]});
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        for part in [
            chain,
            json!({"type": "Sequence"}),
            json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 40]}),
            json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"}),
            json!({"type": "Replace", "pattern": {"Regex": "("}, "content": "x"}),
            json!({"type": "Replace", "pattern": {"Regex": "\\s{2,65535}|$"}, "content": "x"}),
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            json!({"type": "Prepend", "prepend": "x".repeat(5000)}),
            json!({"prepend": "x"}),
            json!([]),
        ] {
            let error = normalizer(part.clone()).unwrap_err();
            assert_eq!(error.code(), Code::TokenizerInvalid, "{part}");
            assert!(error.subject().ends_with("normalizer"));
        }
        for part in [
            json!({"type": "FixedLength", "length": 0}),
            json!({"type": "Sequence", "pretokenizers": [byte_level, byte_level]}),
            json!({"type": "Split", "pattern": {"Regex": "[z"}, "behavior": "Isolated", "invert": false}),
            json!({"type": "Split", "pattern": {"Regex": "a".repeat(1 << 17)}, "behavior": "Isolated", "invert": false}),
            json!({"type": "Split", "behavior": "Isolated", "invert": false}),
            json!({"type": "Metaspace", "replacement": " "}),
        ] {
            let error = pre_tokenizer(part.clone()).unwrap_err();
            assert_eq!(error.code(), Code::TokenizerInvalid, "{part}");
            assert!(error.subject().ends_with("pre_tokenizer"));
        }
        let error = pre_tokenizer(json!({"type": "Magic"})).unwrap_err();
        assert_eq!(error.code(), Code::TokenizerUnsupported);
    }

    #[test]
    fn templates_nest_outwards() {
        let template = |name: &str, id: u32| {
            json!({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": name, "type_id": 0}}],
                "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
        };
        let both = json!({"type": "Sequence", "processors":
            [template("<a>", 1), {"type": "ByteLevel"}, template("<b>", 2)]});
        let affixes = affixes(&both).unwrap();
        assert_eq!(affixes.prefix, [2, 1]);
        assert_eq!(affixes.suffix, [1, 2]);
        let roberta = json!({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]});
        let roberta = super::affixes(&roberta).unwrap();
        assert_eq!((roberta.prefix, roberta.suffix), (vec![0], vec![2]));
    }

    #[test]
    fn a_template_that_names_what_is_not_there_is_an_error() {
        for part in [
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {}}]}),
            json!({"type": "TemplateProcessing", "single": []}),
            json!({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}]}),
            json!({"type": "TemplateProcessing", "single": "$A"}),
            json!({"type": "BertProcessing", "cls": ["a", -1], "sep": ["b", 1]}),
        ] {
            let error = affixes(&part).unwrap_err();
            assert_eq!(error.code(), Code::TokenizerInvalid, "{part}");
        }
    }
}
