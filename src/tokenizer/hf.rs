//! The files beside a tokenizer -> what they add to it.
//!
//! A Hugging Face folder spreads a tokenizer over several files. `tokenizer.json`
//! holds nearly all of it; older folders have `vocab.json` and `merges.txt` and name
//! the rest in `tokenizer_config.json`. Which id ends a reply stands in
//! `generation_config.json`, or in `config.json`.

use serde_json::Value;

use super::added::{AddedToken, AddedTokens, is_markup};
use super::gguf;
use super::json::{Bpe, Merge, VocabPart};
use super::pieces::Spelling;
use super::pipeline::{Pipeline, Stages};
use super::pre;
use super::vocab::{Kind, Vocab};
use super::{Affixes, Specials, Tokenizer, invalid, stop};
use crate::error::Result;

/// The text of the small files that may lie beside a tokenizer; none is needed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Companions<'a> {
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a str>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<&'a str>,
    /// `added_tokens.json`
    pub added_tokens: Option<&'a str>,
    /// `generation_config.json`
    pub generation_config: Option<&'a str>,
    /// What `config.json` holds.
    pub config: Option<&'a Value>,
    /// How a vocabulary with merges cuts text, by a name that GGUF files use
    /// (`llama-bpe`); without it, `tokenizer_config.json` tells.
    pub pre: Option<&'a str>,
}

/// The same, parsed.
struct Parsed {
    tokenizer_config: Value,
    special_tokens_map: Value,
    added_tokens: Value,
    generation_config: Value,
}

impl Parsed {
    fn new(companions: &Companions) -> Result<Self> {
        let parse = |name: &str, text: Option<&str>| match text {
            None => Ok(Value::Null),
            Some(text) => serde_json::from_str(text).map_err(|e| invalid(name, e.to_string())),
        };
        Ok(Self {
            tokenizer_config: parse("tokenizer_config.json", companions.tokenizer_config)?,
            special_tokens_map: parse("special_tokens_map.json", companions.special_tokens_map)?,
            added_tokens: parse("added_tokens.json", companions.added_tokens)?,
            generation_config: parse("generation_config.json", companions.generation_config)?,
        })
    }

    /// The text of a token that the files name by its role, such as `eos_token`.
    fn token(&self, role: &str) -> Option<&str> {
        [&self.tokenizer_config, &self.special_tokens_map]
            .into_iter()
            .find_map(|file| {
                file[role]
                    .as_str()
                    .or_else(|| file[role]["content"].as_str())
            })
    }
}

/// Enters what the files beside a tokenizer say: the roles of its tokens, the ids that
/// end a reply, and whether text is put between them.
pub(super) fn complete(tokenizer: &mut Tokenizer, companions: &Companions) -> Result<()> {
    let parsed = Parsed::new(companions)?;
    let null = Value::Null;
    let config = companions.config.unwrap_or(&null);
    let known = |id: &u32| tokenizer.has(*id);
    let role = |name: &str, id_name: &str| {
        let by_text = parsed.token(name).and_then(|text| tokenizer.id_of(text));
        let by_id = || {
            [&parsed.generation_config, config, &config["text_config"]]
                .into_iter()
                .flat_map(|file| stop::ids(&file[id_name]))
                .find(known)
        };
        by_text.or_else(by_id)
    };
    let bos = role("bos_token", "bos_token_id");
    let eos = role("eos_token", "eos_token_id");
    let mut ends: Vec<u32> = eos.into_iter().collect();
    for file in [&parsed.generation_config, config, &config["text_config"]] {
        ends.extend(
            stop::ids(&file["eos_token_id"])
                .iter()
                .filter(|id| known(id)),
        );
    }
    tokenizer.set_specials(Specials {
        bos,
        eos,
        eot: None,
        ends,
    });
    apply_affixes(tokenizer, &parsed.tokenizer_config);
    Ok(())
}

/// `add_bos_token` and `add_eos_token`. `true` adds what the post-processor does not;
/// `false` takes away only in the classes that rebuild their post-processor from the
/// two (in the others it is a left-over that `transformers` ignores).
fn apply_affixes(tokenizer: &mut Tokenizer, config: &Value) {
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    let rebuilds = ["Llama", "Gemma", "Cohere"]
        .iter()
        .any(|family| class.starts_with(family));
    let apply = |ids: &mut Vec<u32>, id: Option<u32>, add: &Value| match (add.as_bool(), id) {
        (Some(true), Some(id)) if !ids.contains(&id) => ids.push(id),
        (Some(false), Some(id)) if rebuilds => ids.retain(|i| *i != id),
        _ => {}
    };
    let Affixes { prefix, suffix } = &mut tokenizer.affixes;
    apply(prefix, tokenizer.specials.bos, &config["add_bos_token"]);
    apply(suffix, tokenizer.specials.eos, &config["add_eos_token"]);
}

/// Builds a tokenizer from `vocab.json` and `merges.txt`.
pub(super) fn from_vocab_merges(
    vocab: &str,
    merges: &str,
    companions: &Companions,
) -> Result<Tokenizer> {
    const VOCAB: &str = "vocab.json";
    let parsed = Parsed::new(companions)?;
    let part: VocabPart = serde_json::from_str(vocab).map_err(|e| invalid(VOCAB, e.to_string()))?;
    let VocabPart::Ids(entries) = part else {
        return Err(invalid(VOCAB, "is not a map of tokens to ids"));
    };
    let pre = pre::find(companions.pre.unwrap_or_else(|| pre_of_class(&parsed)))?;
    let bpe = Bpe {
        subject: VOCAB,
        vocab_subject: VOCAB,
        merges_subject: "merges.txt",
        merges: read_merges(merges)?,
        unk_token: None,
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: false,
        byte_fallback: !pre.byte_level,
        ignore_merges: pre.ignore_merges,
    };
    let (model, _) = bpe.build(&entries)?;
    let spelling = if pre.byte_level {
        Spelling::byte_level()
    } else {
        Spelling::sentencepiece(false)
    };
    let added = added_tokens(&parsed, &entries)?;
    let mut table = Vocab::for_entries(entries.len() + added.len());
    for (token, id) in &entries {
        if table.has(*id) {
            return Err(invalid(VOCAB, format!("id {id} stands for two tokens")));
        }
        table.set(*id, Kind::TEXT, VOCAB, |out| {
            spelling.push_bytes(token, out)
        })?;
    }
    for (token, special) in &added {
        let kind = match (special, token.control) {
            (true, _) => Kind::SPECIAL,
            (false, true) => Kind::MARKUP,
            (false, false) => Kind::TEXT,
        };
        table.set(token.id, kind, "added_tokens.json", |out| {
            out.extend_from_slice(token.content.as_bytes());
        })?;
    }
    let pipeline = Pipeline::Stages(Box::new(Stages {
        normalizer: gguf::normalizer(pre)?,
        pre_tokenizer: Some(gguf::pre_tokenizer(pre)?),
        model,
        whole_newlines: false,
        unk: None,
    }));
    let added = AddedTokens::new(added.into_iter().map(|(token, _)| token).collect());
    let mut tokenizer = Tokenizer::new(table, added, pipeline, spelling, Affixes::default());
    complete(&mut tokenizer, companions)?;
    Ok(tokenizer)
}

/// How a class of `transformers` cuts text, by the name that GGUF files use.
fn pre_of_class(parsed: &Parsed) -> &'static str {
    match parsed.tokenizer_config["tokenizer_class"].as_str() {
        Some(class) if class.starts_with("Qwen2") => "qwen2",
        // GPT2Tokenizer, CodeGenTokenizer, RobertaTokenizer and the rest of the family.
        _ => "gpt-2",
    }
}

/// One merge a line; a line that starts with `#version` is none.
fn read_merges(text: &str) -> Result<Vec<Merge>> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"))
        .map(|(i, line)| match line.split_once(' ') {
            Some((a, b)) if !b.contains(' ') => Ok(Merge(a.to_string(), b.to_string())),
            _ => {
                let subject = format!("merges.txt:{}", i + 1);
                Err(invalid(
                    subject,
                    format!("{line:?} is not two tokens to merge"),
                ))
            }
        })
        .collect()
}

/// The added tokens of the files beside a vocabulary, each with whether it is special.
#[derive(Default)]
struct Collected {
    tokens: Vec<(AddedToken, bool)>,
}

impl Collected {
    /// Enters a token, or what another file says of one that is there.
    fn add(&mut self, id: u64, content: &str, flags: &Value, file: &str) -> Result<()> {
        let id = u32::try_from(id).map_err(|_| invalid(file, format!("{id} is not an id")))?;
        if content.is_empty() {
            return Err(invalid(file, format!("id {id} has no content")));
        }
        let flag = |name: &str| flags[name].as_bool().unwrap_or(false);
        let special = flag("special");
        let known = self.tokens.iter_mut().find(|(t, _)| t.content == content);
        if let Some((token, is_special)) = known {
            if token.id != id {
                let detail = format!("{content:?} has the ids {} and {id}", token.id);
                return Err(invalid(file, detail));
            }
            *is_special |= special;
            token.control |= special;
            return Ok(());
        }
        let token = AddedToken {
            id,
            content: content.to_string(),
            pattern: content.to_string(),
            // Nothing but NFC goes before the cuts, so text need not wait for it.
            normalized: false,
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            control: special || is_markup(content),
        };
        self.tokens.push((token, special));
        Ok(())
    }

    fn id_of(&self, content: &str) -> Option<u32> {
        let known = self.tokens.iter().find(|(t, _)| t.content == content);
        known.map(|(token, _)| token.id)
    }
}

/// Reads the added tokens of all files that may hold some.
fn added_tokens(parsed: &Parsed, entries: &[(String, u32)]) -> Result<Vec<(AddedToken, bool)>> {
    const CONFIG: &str = "tokenizer_config.json";
    const ADDED: &str = "added_tokens.json";
    const MAP: &str = "special_tokens_map.json";
    let mut collected = Collected::default();
    let none = serde_json::Map::new();
    let decoder = parsed.tokenizer_config["added_tokens_decoder"].as_object();
    for (id, token) in decoder.unwrap_or(&none) {
        let (Ok(id), Some(content)) = (id.parse(), token["content"].as_str()) else {
            let detail = format!("added_tokens_decoder: {id:?} is not an id with a content");
            return Err(invalid(CONFIG, detail));
        };
        collected.add(id, content, token, CONFIG)?;
    }
    for (content, id) in parsed.added_tokens.as_object().unwrap_or(&none) {
        let id = id.as_u64();
        let id = id.ok_or_else(|| invalid(ADDED, format!("{content:?} has no id")))?;
        collected.add(id, content, &Value::Null, ADDED)?;
    }
    // A role makes special what is in the vocabulary already.
    let mut special: Vec<&str> = Vec::new();
    for role in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        special.extend(parsed.token(role));
    }
    let more = parsed.special_tokens_map["additional_special_tokens"].as_array();
    for token in more.into_iter().flatten() {
        special.extend(token.as_str().or_else(|| token["content"].as_str()));
    }
    let is_special = serde_json::json!({"special": true});
    for content in special {
        let id = collected.id_of(content).or_else(|| {
            let entry = entries.iter().find(|(token, _)| token == content);
            entry.map(|(_, id)| *id)
        });
        if let Some(id) = id {
            collected.add(id.into(), content, &is_special, MAP)?;
        }
    }
    Ok(collected.tokens)
}
