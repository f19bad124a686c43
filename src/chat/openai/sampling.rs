//! How a request has tokens drawn: OpenAI's fields with their defaults, and those that
//! samplers elsewhere have and OpenAI lacks.

use serde_json::Value as Json;

use super::fields::{Field, Fields};
use crate::decode::SamplingParams;
use crate::decode::params::Dry;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// The fields of `dry`.
pub const DRY_FIELDS: &[&str] = &[
    "multiplier",
    "base",
    "allowed_length",
    "last_n_tokens",
    "breakers",
];

/// What a repetition does not reach across, where nothing is said (as llama.cpp has it).
const DRY_BREAKERS: &[&str] = &["\n", ":", "\"", "*"];

/// How tokens are drawn, but for the seed of chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// All that needs no tokenizer.
    pub params: SamplingParams,
    /// Texts whose tokens a repetition does not reach across ([`Dry::breakers`]).
    pub dry_breakers: Vec<String>,
}

impl Sampling {
    /// For a vocabulary.
    ///
    /// # Errors
    /// `request_invalid` for a bias of a token that is not there.
    pub fn resolve(&self, tokenizer: &Tokenizer) -> Result<SamplingParams> {
        let n_vocab = tokenizer.n_vocab();
        let mut params = self.params.clone();
        if let Some((id, _)) = params
            .logit_bias
            .iter()
            .find(|(id, _)| *id as usize >= n_vocab)
        {
            let detail = format!("there are {n_vocab} tokens");
            return Err(super::fields::invalid(
                format!("logit_bias[\"{id}\"]"),
                detail,
            ));
        }
        if let Some(dry) = &mut params.dry {
            let breaks = |id: &u32| {
                let bytes = tokenizer.token_bytes(*id);
                let holds = |text: &String| bytes.windows(text.len()).any(|w| w == text.as_bytes());
                self.dry_breakers.iter().any(holds)
            };
            dry.breakers = (0..n_vocab as u32).filter(breaks).collect();
        }
        Ok(params)
    }
}

/// Reads what a request says.
pub(super) fn read(fields: &Fields<'_>) -> Result<Sampling> {
    let number = |name, default| {
        let number = fields.read(name, Field::number);
        number.map(|number| number.unwrap_or(default))
    };
    let (dry, dry_breakers) = fields.read("dry", read_dry)?.unzip();
    let params = SamplingParams {
        temperature: number("temperature", 1.0)?,
        top_p: number("top_p", 1.0)?,
        min_p: number("min_p", 0.0)?,
        typical_p: number("typical_p", 1.0)?,
        top_k: fields
            .read("top_k", |k| k.count(0, usize::MAX))?
            .unwrap_or(0),
        repetition_penalty: number("repetition_penalty", 1.0)?,
        frequency_penalty: number("frequency_penalty", 0.0)?,
        presence_penalty: number("presence_penalty", 0.0)?,
        dry,
        logit_bias: fields
            .read("logit_bias", read_logit_bias)?
            .unwrap_or_default(),
        seed: 0,
    };
    // Its errors name the fields as requests do.
    params.validate()?;
    Ok(Sampling {
        params,
        dry_breakers: dry_breakers.unwrap_or_default(),
    })
}

fn read_dry(dry: &Field<'_>) -> Result<(Dry, Vec<String>)> {
    let fields = dry.object(DRY_FIELDS)?;
    let number = |name, default| {
        let number = fields.read(name, Field::number);
        number.map(|number| number.unwrap_or(default))
    };
    let count = |name, default| {
        let count = fields.read(name, |n| n.count(0, usize::MAX));
        count.map(|count| count.unwrap_or(default))
    };
    let breakers = fields.read("breakers", |breakers| {
        let text = |field: &Field<'_>| match field.string()? {
            "" => Err(field.invalid("must not be empty")),
            text => Ok(text.to_string()),
        };
        breakers.list()?.iter().map(text).collect::<Result<_>>()
    })?;
    let standard = || {
        DRY_BREAKERS
            .iter()
            .map(|text| (*text).to_string())
            .collect()
    };
    let dry = Dry {
        multiplier: number("multiplier", 0.8)?,
        base: number("base", 1.75)?,
        allowed_length: count("allowed_length", 2)?,
        last_n_tokens: count("last_n_tokens", 0)?,
        breakers: Vec::new(),
    };
    Ok((dry, breakers.unwrap_or_else(standard)))
}

fn read_logit_bias(bias: &Field<'_>) -> Result<Vec<(u32, f32)>> {
    let one = |(token, value): (&String, &Json)| {
        let field = Field::new(format!("{}[{token:?}]", bias.path), value);
        let Ok(id) = token.parse::<u32>() else {
            return Err(field.invalid("must be keyed by a token's id"));
        };
        let value = field.number()?;
        if !(-100.0..=100.0).contains(&value) {
            return Err(field.invalid(format!("must be from -100 to 100, is {value}")));
        }
        Ok((id, value))
    };
    bias.map()?.iter().map(one).collect()
}
