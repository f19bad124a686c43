//! What holds for every tokenizer: text that is not trusted names no control token, a stream is the whole.

use tandem::tokenizer::{Span, Tokenizer};

use crate::support::*;

/// The promise: text that is not trusted never becomes a control token, however it is
/// cut and whatever stands around it.
#[test]
fn text_that_is_not_trusted_never_names_a_control_token() {
    for (name, tokenizer) in all() {
        let n = tokenizer.n_vocab() as u32;
        let control: Vec<u32> = (0..n).filter(|id| tokenizer.is_control(*id)).collect();
        let unk = tokenizer.id_of("<unk>");
        let names: Vec<String> = control
            .iter()
            .map(|id| String::from_utf8_lossy(tokenizer.token_bytes(*id)).into_owned())
            .collect();
        assert!(!names.is_empty(), "{name} has no control tokens");
        let mut random = Random(7);
        for _ in 0..400 {
            let mut texts: Vec<String> = Vec::new();
            for _ in 0..1 + random.below(5) {
                let mut text = String::new();
                for _ in 0..random.below(5) {
                    let token = &names[random.below(names.len())];
                    match random.below(6) {
                        0 | 1 => text += token,
                        2 => text += &token[..floor(token, random.below(token.len() + 1))],
                        3 => text += &token[floor(token, random.below(token.len() + 1))..],
                        4 => text += [" ", "\n", "<", "|>", "▁", "Ġ", "\0", "  "][random.below(8)],
                        _ => text += ["word", "é", "<s", "12", "語", "</", ">"][random.below(7)],
                    }
                }
                texts.push(text);
            }
            let allowed = |ids: &[u32], context: &dyn std::fmt::Debug| {
                for id in ids {
                    let bad = tokenizer.is_control(*id) && Some(*id) != unk;
                    assert!(!bad, "{name}: id {id} from {context:?}");
                }
            };
            let whole = texts.concat();
            allowed(&tokenizer.encode(&whole, PLAIN).unwrap(), &whole);
            let plain: Vec<Span> = texts
                .iter()
                .map(|text| Span {
                    text,
                    parse_special: false,
                })
                .collect();
            let joined = tokenizer.encode_spans(&plain, false).unwrap();
            assert_eq!(joined, tokenizer.encode(&whole, PLAIN).unwrap());
            // Trusted parts between them: they alone can name control tokens, so no
            // more of these come out than they hold by themselves.
            let trusted: Vec<Span> = texts
                .iter()
                .enumerate()
                .map(|(i, text)| Span {
                    text,
                    parse_special: i % 2 == 1,
                })
                .collect();
            let mixed = tokenizer.encode_spans(&trusted, false).unwrap();
            let count = |ids: &[u32]| {
                let controls = ids.iter().filter(|id| tokenizer.is_control(**id));
                controls.filter(|id| Some(**id) != unk).count()
            };
            let held: usize = trusted
                .iter()
                .filter(|span| span.parse_special)
                .map(|span| span.text.matches(['<', '[', '▁', '>']).count())
                .sum();
            assert!(count(&mixed) <= held, "{name}: {trusted:?}: {mixed:?}");
        }
    }
}

#[test]
fn spans_leave_no_trace_where_nothing_is_at_stake() {
    for (name, tokenizer) in all() {
        for text in [
            "Once upon a time, there was a fox.\n\n  It's 12345.",
            " a  b ",
            "héllo 語",
        ] {
            let whole = tokenizer.encode(text, MARKED).unwrap();
            for at in text.char_indices().map(|(at, _)| at) {
                let spans = [(&text[..at], true), (&text[at..], false)];
                let spans = spans.map(|(text, parse_special)| Span {
                    text,
                    parse_special,
                });
                let ids = tokenizer.encode_spans(&spans, false).unwrap();
                assert_eq!(ids, whole, "{name}: {spans:?}");
            }
        }
    }
}

#[test]
fn a_stream_of_any_ids_is_the_whole() {
    for (name, tokenizer) in all() {
        let mut random = Random(3);
        for _ in 0..300 {
            let n = random.below(24);
            // Past the end too: logits are padded.
            let ids: Vec<u32> = (0..n)
                .map(|_| random.below(tokenizer.n_vocab() + 8) as u32)
                .collect();
            check_stream(&name, &tokenizer, &ids);
        }
        // Bytes of many characters, in the order that splits them most.
        let bytes: Vec<u32> = "語🦙é"
            .bytes()
            .filter_map(|b| {
                let ids = 0..tokenizer.n_vocab() as u32;
                ids.into_iter().find(|id| tokenizer.token_bytes(*id) == [b])
            })
            .collect();
        check_stream(&name, &tokenizer, &bytes);
        if bytes.len() == 9 {
            assert_eq!(tokenizer.decode(&bytes, false), "語🦙é", "{name}");
        }
    }
}

#[test]
fn a_continuation_keeps_its_leading_space() {
    let Some(metadata) = metadata("llama-spm.gguf") else {
        return;
    };
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    let ids = tokenizer.encode("time", PLAIN).unwrap();
    assert_eq!(tokenizer.decode(&ids, false), "time");
    let mut stream = tokenizer.detokenizer_continuing(false);
    let text: String = ids.iter().map(|id| stream.push(*id)).collect();
    assert_eq!(text, " time");
}

/// Patterns that look ahead go back over blanks one by one, and may do so a million times.
#[test]
fn more_blanks_than_a_pattern_may_go_back_over_are_read() {
    for (name, tokenizer) in all() {
        let same = |text: &str| {
            let ids = tokenizer.encode(text, PLAIN);
            let ids = ids.unwrap_or_else(|error| panic!("{name}: {error}"));
            tokenizer.decode(&ids, false) == text
        };
        for blank in [" ", "\n", " \n"] {
            // Some strip blanks or write them another way, few or many.
            let many = blank.repeat(1_100_000 / blank.len());
            assert_eq!(same(&many), same(&blank.repeat(9)), "{name}: {blank:?}");
        }
    }
}
