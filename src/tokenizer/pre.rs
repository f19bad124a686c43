//! The table of pre-tokenisers that GGUF files name.
//!
//! A byte-level BPE vocabulary is only half of a tokenizer: before pairs are merged,
//! text is cut by regular expressions, and GGUF stores but the name of the cut
//! (`tokenizer.ggml.pre`). Each row below pins a name to its expressions. Names and
//! grouping are those of llama.cpp (`src/llama-vocab.cpp`, commit 00ad355e); where
//! llama.cpp rewrites an expression because its own matcher cannot run it, the
//! original from the model's `tokenizer.json`, which that file quotes, stands here.
//!
//! Left out, because their cut is code and not an expression: `kimi-k2`, `afmoe`,
//! `superbpe`, `chameleon`, and those of embedding models.

use super::unsupported;
use crate::error::Result;

/// How one family cuts text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pre {
    /// The values of `tokenizer.ggml.pre` that mean it.
    pub names: &'static [&'static str],
    /// Applied in turn, each to what the one before left whole; what matches is a
    /// piece, and so is what lies between two matches.
    pub cuts: &'static [&'static str],
    /// A piece that is a token as a whole is not merged.
    pub ignore_merges: bool,
    /// Text is composed (NFC) first, as the family's `tokenizer.json` says.
    pub nfc: bool,
    /// Whether bytes are spelled in GPT-2's alphabet; otherwise `▁` is a space and
    /// `<0x0A>` a byte, as in SentencePiece.
    pub byte_level: bool,
    /// The default for `tokenizer.ggml.add_bos_token`.
    pub add_bos: bool,
}

/// A row that needs nothing but its names and expressions.
const fn cut(names: &'static [&'static str], cuts: &'static [&'static str]) -> Pre {
    Pre {
        names,
        cuts,
        ignore_merges: false,
        nfc: false,
        byte_level: true,
        add_bos: false,
    }
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const CJK_RUN: &str = "[一-龥぀-ゟ゠-ヿ]+";
const NEWLINES_APART: &str = r"[^\n]+|[\n]+";

/// What a file without `tokenizer.ggml.pre` means.
pub(super) const DEFAULT: &str = "default";

/// Every family.
pub(super) const TABLE: &[Pre] = &[
    cut(
        &[DEFAULT],
        &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    ),
    cut(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        &[GPT2],
    ),
    cut(
        &[
            "starcoder",
            "refact",
            "command-r",
            "smollm",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[r"\p{N}", GPT2],
    ),
    cut(
        &["falcon"],
        &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    ),
    Pre {
        ignore_merges: true,
        add_bos: true,
        ..cut(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
                "jina-v5-nano",
            ],
            &[LLAMA3],
        )
    },
    cut(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3]),
    Pre {
        ignore_merges: true,
        ..cut(
            &["minicpm5"],
            &[
                r"\p{N}{1,3}",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
        )
    },
    cut(
        &["jais-2"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
        ],
    ),
    // Qwen's tokenizer.json has the normaliser NFC; its llama.cpp conversion does not.
    Pre {
        nfc: true,
        ..cut(&["qwen2", "deepseek-r1-qwen"], &[QWEN2])
    },
    cut(
        &[
            "stablelm2",
            "hunyuan",
            "solar-open",
            "megrez",
            "kormo",
            "f2llmv2",
            "grok-2",
        ],
        &[QWEN2],
    ),
    Pre {
        nfc: true,
        ..cut(
            &["qwen35"],
            &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
        )
    },
    cut(
        &["ufakzeka"],
        &[r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    ),
    cut(
        &["seed-coder"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    cut(&["laguna"], &[NEWLINES_APART, QWEN2]),
    cut(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    cut(
        &["exaone-moe"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    cut(
        &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        &[GPT4O],
    ),
    Pre {
        ignore_merges: true,
        ..cut(&["granite-embed-multi-97m"], &[GPT4O])
    },
    cut(
        &["tiny_aya", "cohere2moe"],
        &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    ),
    Pre {
        ignore_merges: true,
        add_bos: true,
        ..cut(
            &["tekken"],
            &[
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
        )
    },
    Pre {
        ignore_merges: true,
        ..cut(
            &["youtu"],
            &[
                "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
        )
    },
    cut(
        &["deepseek-coder"],
        &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[一-龥ࠀ-一가-퟿]+",
            r"\p{N}",
        ],
    ),
    cut(
        &["deepseek-llm"],
        &[
            r"[\r\n]",
            r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            "[一-龥ࠀ-一가-퟿]+",
            r"\p{N}+",
        ],
    ),
    cut(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[r"\p{N}{1,3}", CJK_RUN, DEEPSEEK3],
    ),
    cut(
        &["spark2_5"],
        &[
            r"\p{N}{1,3}",
            CJK_RUN,
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##,
            r"\p{N}",
        ],
    ),
    cut(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    cut(&["viking"], &[BLOOM, r"\p{N}"]),
    // BPE over SentencePiece's spelling: only newlines are cut off.
    Pre {
        byte_level: false,
        add_bos: true,
        ..cut(&["gemma4", "granite-embed-multi-311m"], &[NEWLINES_APART])
    },
    Pre {
        byte_level: false,
        ..cut(&["sarvam-moe"], &[NEWLINES_APART])
    },
];

/// The row that `name` means.
///
/// # Errors
/// `tokenizer_unsupported` for a name that is not in the table. Guessing would run,
/// and be wrong in a way that is hard to see: ids that the model has seldom met.
pub(super) fn find(name: &str) -> Result<&'static Pre> {
    TABLE
        .iter()
        .find(|pre| pre.names.contains(&name))
        .ok_or_else(|| {
            let known: Vec<&str> = TABLE.iter().flat_map(|pre| pre.names).copied().collect();
            unsupported(
                "tokenizer.ggml.pre",
                format!(
                    "unknown pre-tokenizer {name:?}; known: {}",
                    known.join(", ")
                ),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use std::collections::HashSet;

    #[test]
    fn every_name_stands_once_and_is_found() {
        let mut seen = HashSet::new();
        for pre in TABLE {
            for name in pre.names {
                assert!(seen.insert(name), "{name} stands twice");
                assert_eq!(find(name).unwrap(), pre);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = find("qwen9").unwrap_err();
        assert_eq!(error.code(), Code::TokenizerUnsupported);
        assert_eq!(error.subject(), "tokenizer.ggml.pre");
        for name in ["\"qwen9\"", "llama-bpe", "smollm"] {
            assert!(error.detail().contains(name), "{error}");
        }
    }
}

/// What each row cuts, against Oniguruma, with which the models were trained: on wasm
/// the same expressions run on another engine.
#[cfg(test)]
mod goldens {
    use super::*;
    use crate::tokenizer::gguf;
    use serde_json::{Value, json};
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn file() -> std::path::PathBuf {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        root.join("tests/goldens/tokenizer/cuts.json")
    }

    fn rows() -> Vec<Value> {
        let row = |pre: &Pre| json!({"names": pre.names, "cuts": pre.cuts});
        TABLE.iter().map(row).collect()
    }

    /// Run this after changing the table, then `tests/goldens/tokenizer.py`.
    #[test]
    #[ignore = "writes a golden"]
    fn write_cuts() {
        let text = json!({"texts": [], "rows": rows()}).to_string();
        std::fs::write(file(), text).unwrap();
    }

    #[test]
    fn every_row_cuts_as_oniguruma_does() {
        let golden: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
        let texts = golden["texts"].as_array().unwrap();
        let golden = golden["rows"].as_array().unwrap();
        assert_eq!(golden.len(), TABLE.len(), "write_cuts was not run");
        for ((pre, row), golden) in TABLE.iter().zip(rows()).zip(golden) {
            assert_eq!(row["cuts"], golden["cuts"], "write_cuts was not run");
            let cutter = Pre {
                byte_level: false,
                names: pre.names,
                cuts: pre.cuts,
                ..*pre
            };
            let cutter = gguf::pre_tokenizer(&cutter).unwrap();
            for (text, lengths) in texts.iter().zip(golden["lengths"].as_array().unwrap()) {
                let mut pieces = PreTokenizedString::from(text.as_str().unwrap());
                cutter.pre_tokenize(&mut pieces).unwrap();
                let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
                let got: Vec<usize> = pieces.iter().map(|p| p.0.chars().count()).collect();
                assert_eq!(json!(got), *lengths, "{:?} of {text}", pre.names);
            }
        }
    }
}
