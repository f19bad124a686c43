//! Which ids end a reply.

use serde_json::Value;

/// Tokens that end a turn or a text, by their usual spelling; what llama.cpp
/// (`llama-vocab.cpp`) and the models' generation configs stop at. A vocabulary
/// that has one of these as an added token means it.
const ENDS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endofturn|>",
    "<EOT>",
    "[EOT]",
    "[EOS]",
];

/// The tokens that end a turn by their spelling, the most telling first. `id_of`
/// knows added tokens only.
pub(super) fn by_spelling(id_of: impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    // In these vocabularies `<|end|>` ends one message of several.
    let channels = id_of("<|call|>").is_some() && id_of("<|return|>").is_some()
        || id_of("<|calls|>").is_some() && id_of("<|flush|>").is_some();
    ENDS.iter()
        .filter(|text| !(channels && **text == "<|end|>"))
        .filter_map(|text| id_of(text))
        .collect()
}

/// Reads `eos_token_id`, which is a number or a list of numbers.
pub(super) fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    }
}

/// Whether a token spelled like this ends a turn or a text.
pub(super) fn is_end(text: &str) -> bool {
    ENDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn end_is_a_message_where_channels_are() {
        let phi = |text: &str| (text == "<|end|>").then_some(7);
        assert_eq!(by_spelling(phi), [7]);
        let harmony = |text: &str| match text {
            "<|end|>" => Some(7),
            "<|return|>" => Some(8),
            "<|call|>" => Some(9),
            _ => None,
        };
        assert_eq!(by_spelling(harmony), [8, 9]);
    }

    #[test]
    fn eos_is_a_number_or_a_list() {
        assert_eq!(ids(&json!(2)), [2]);
        assert_eq!(ids(&json!([128001, 128009])), [128001, 128009]);
        assert_eq!(ids(&json!(null)), [0; 0]);
        assert_eq!(ids(&json!(["x", -1, 5])), [5]);
    }
}
