//! What a checkpoint says about its prompts: templates, special and added tokens.

use serde_json::Value as Json;

use super::{ChatTemplate, invalid};
use crate::error::{Code, Error, Result};
use crate::format::{Checkpoint, Config, Metadata, StringList};

/// The named special tokens, as transformers names them, and GGUF's keys for them.
const NAMED: [(&str, &str); 7] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("sep_token", "tokenizer.ggml.seperator_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
    ("cls_token", "tokenizer.ggml.cls_token_id"),
    ("mask_token", "tokenizer.ggml.mask_token_id"),
];

/// A checkpoint's named special tokens: `bos_token`, `eos_token`, ..
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    tokens: Vec<(String, String)>,
}

impl SpecialTokens {
    /// The token of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.tokens.iter().find(|(known, _)| known == name);
        found.map(|(_, token)| token.as_str())
    }

    /// All of them: name and text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tokens
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str()))
    }

    /// Adds one, unless that name is taken.
    pub fn insert(&mut self, name: impl Into<String>, token: impl Into<String>) {
        let name = name.into();
        if self.get(&name).is_none() {
            self.tokens.push((name, token.into()));
        }
    }

    /// From tokenizer_config.json or special_tokens_map.json: each a string, or an object
    /// with `content`.
    fn read(&mut self, config: &Json) {
        for (name, _) in NAMED {
            let token = config.get(name);
            let content = token.and_then(|token| token.get("content"));
            if let Some(text) = content.or(token).and_then(Json::as_str) {
                self.insert(name, text);
            }
        }
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for SpecialTokens {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(tokens: I) -> Self {
        let mut special = Self::default();
        for (name, token) in tokens {
            special.insert(name, token);
        }
        special
    }
}

/// A token outside the learnt vocabulary, matched in text before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its spelling.
    pub content: String,
    /// Whether the tokenizer calls it special.
    pub special: bool,
}

/// `tokenizer.ggml.token_type`: a control token, and one the user defined.
const GGUF_CONTROL: i32 = 3;
const GGUF_USER_DEFINED: i32 = 4;

impl ChatTemplate {
    /// The checkpoint's template, or what [stands in](ChatTemplate::fallback) for one.
    ///
    /// From a Hugging Face folder: chat_template.jinja and additional_chat_templates/*.jinja
    /// before chat_template.json before tokenizer_config.json. From GGUF:
    /// `tokenizer.chat_template` and `tokenizer.chat_template.NAME`.
    ///
    /// # Errors
    /// `config_invalid` where the companion files or the metadata are malformed. A
    /// template that does not parse is an error only once it is used.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        match &checkpoint.config {
            Config::Gguf(metadata) => Self::from_gguf(metadata),
            Config::HuggingFace(_) => Self::from_files(&mut |name| checkpoint.text_file(name), {
                checkpoint.text_files().collect()
            }),
        }
    }

    /// From a Hugging Face folder's text files.
    pub(super) fn from_files<'f>(
        get: &mut dyn FnMut(&str) -> Option<&'f str>,
        all: Vec<(&str, &'f str)>,
    ) -> Result<Self> {
        let mut json = |name: &str| match get(name) {
            None => Ok(None),
            Some(text) => serde_json::from_str::<Json>(text)
                .map(Some)
                .map_err(|error| Error::new(Code::ConfigInvalid, name, error.to_string())),
        };
        let config = json("tokenizer_config.json")?.unwrap_or(Json::Null);
        let map = json("special_tokens_map.json")?.unwrap_or(Json::Null);
        let tokenizer = json("tokenizer.json")?.unwrap_or(Json::Null);
        let processor = json("chat_template.json")?.unwrap_or(Json::Null);
        let mut special = SpecialTokens::default();
        special.read(&config);
        special.read(&map);
        let added = added_tokens(&tokenizer, &config);
        let mut variants: Vec<(String, String)> = Vec::new();
        for (name, text) in all {
            let name = match name {
                "chat_template.jinja" => Some("default"),
                other => other
                    .strip_prefix("additional_chat_templates/")
                    .or(other.strip_prefix("chat_templates/"))
                    .and_then(|name| name.strip_suffix(".jinja")),
            };
            if let Some(name) = name {
                variants.push((name.to_string(), text.to_string()));
            }
        }
        for config in [&processor, &config] {
            if variants.is_empty() {
                variants = named_templates(config.get("chat_template"))?;
            }
        }
        Ok(match variants.is_empty() {
            true => Self::fallback(special, added),
            false => Self::from_variants(variants, special).with_added_tokens(added),
        })
    }

    /// From a GGUF file's metadata.
    pub(super) fn from_gguf(metadata: &Metadata) -> Result<Self> {
        let tokens: Option<&StringList> = metadata.get("tokenizer.ggml.tokens")?;
        let types: Option<Vec<i32>> = metadata.get("tokenizer.ggml.token_type")?;
        let mut special = SpecialTokens::default();
        for (name, key) in NAMED {
            let id: Option<u64> = metadata.get(key)?;
            let id = id.and_then(|id| usize::try_from(id).ok());
            if let Some(token) = id.and_then(|id| tokens?.get(id)) {
                special.insert(name, token);
            }
        }
        let pairs = tokens.map(StringList::iter).into_iter().flatten();
        let pairs = pairs.zip(types.into_iter().flatten());
        let added = pairs.filter_map(|(token, kind)| {
            let special = kind == GGUF_CONTROL;
            (special || kind == GGUF_USER_DEFINED).then(|| AddedToken {
                content: token.to_string(),
                special,
            })
        });
        let added = added.collect();
        const KEY: &str = "tokenizer.chat_template";
        let mut variants = Vec::new();
        if let Some(text) = metadata.get::<&str>(KEY)? {
            variants.push(("default".to_string(), text.to_string()));
        }
        for (key, _) in metadata.iter() {
            let name = key
                .strip_prefix(KEY)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(name) = name {
                let text: &str = metadata.require(key)?;
                variants.push((name.to_string(), text.to_string()));
            }
        }
        Ok(match variants.is_empty() {
            true => Self::fallback(special, added),
            false => Self::from_variants(variants, special).with_added_tokens(added),
        })
    }
}

/// `chat_template` as tokenizer_config.json has it: one, or several with names.
fn named_templates(template: Option<&Json>) -> Result<Vec<(String, String)>> {
    match template {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(vec![("default".to_string(), text.clone())]),
        Some(Json::Array(list)) => list
            .iter()
            .map(|entry| {
                let text = |key: &str| entry.get(key).and_then(Json::as_str);
                match (text("name"), text("template")) {
                    (Some(name), Some(template)) => Ok((name.to_string(), template.to_string())),
                    _ => Err(invalid("a named template lacks its name or its text")),
                }
            })
            .collect(),
        Some(Json::Object(map)) => map
            .iter()
            .map(|(name, template)| match template.as_str() {
                Some(template) => Ok((name.clone(), template.to_string())),
                None => Err(invalid(format!("template {name} is not text"))),
            })
            .collect(),
        Some(_) => Err(invalid("is neither text nor a list of named templates")),
    }
}

/// tokenizer.json's `added_tokens`, else tokenizer_config.json's `added_tokens_decoder`.
fn added_tokens(tokenizer: &Json, config: &Json) -> Vec<AddedToken> {
    let listed = tokenizer.get("added_tokens").and_then(Json::as_array);
    let decoder = config.get("added_tokens_decoder").and_then(Json::as_object);
    let entries: Vec<&Json> = match (listed, decoder) {
        (Some(listed), _) => listed.iter().collect(),
        (None, Some(decoder)) => decoder.values().collect(),
        (None, None) => Vec::new(),
    };
    let entries = entries.into_iter().filter_map(|entry| {
        Some(AddedToken {
            content: entry.get("content")?.as_str()?.to_string(),
            special: entry
                .get("special")
                .and_then(Json::as_bool)
                .unwrap_or(false),
        })
    });
    entries.filter(|token| !token.content.is_empty()).collect()
}
