use super::*;
use crate::decode::cost::{Costs, DraftLength};
use crate::decode::draft::NgramDrafter;
use crate::decode::testing::{NoiseModel, ticking};
use crate::decode::{
    FinishReason, GenerateOptions, Generation, Lane, SamplingParams, Sequence, Step,
};
use crate::tokenizer::Companions;

/// Every byte is a token, a few common pairs are too, and there is an end.
fn bytes_tokenizer() -> Arc<Tokenizer> {
    let printable = |b: u8| (33..=126).contains(&b) || (161..=172).contains(&b) || b >= 174;
    let mut next = 256;
    let mut vocab = serde_json::Map::new();
    for byte in 0..=255_u8 {
        // The byte-level alphabet of GPT-2: bytes that print are themselves, the others
        // are moved up.
        let c = if printable(byte) {
            char::from(byte)
        } else {
            next += 1;
            char::from_u32(next - 1).unwrap()
        };
        vocab.insert(c.to_string(), serde_json::json!(byte));
    }
    let merges = [
        "\" :", "\": \"", "{ \"", "t r", "tr ue", "u e", "0 0", "\" ,", "\" }",
    ];
    let merges: Vec<&str> = merges
        .into_iter()
        .filter(|m| !m.contains("\": \"") && *m != "tr ue")
        .collect();
    for (i, merge) in merges.iter().enumerate() {
        vocab.insert(merge.replace(' ', ""), serde_json::json!(256 + i));
    }
    let end = 256 + merges.len();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [{
            "id": end, "content": "<|end|>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true, "trim_offsets": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    });
    Arc::new(Tokenizer::from_json(json.to_string().as_bytes(), &Companions::default()).unwrap())
}

struct World {
    tokenizer: Arc<Tokenizer>,
    end: u32,
    compiler: ConstraintCompiler,
}

struct Reply {
    text: String,
    ids: Vec<u32>,
    reason: FinishReason,
    accepted: usize,
}

impl World {
    fn new() -> Self {
        let tokenizer = bytes_tokenizer();
        let end = tokenizer.id_of("<|end|>").unwrap();
        let compiler = ConstraintCompiler::new(tokenizer.clone(), end).unwrap();
        Self {
            tokenizer,
            end,
            compiler,
        }
    }

    /// A reply of a model that says anything, under a constraint.
    fn reply(&self, spec: &ConstraintSpec, seed: u64, length: Option<DraftLength>) -> Reply {
        self.reply_with(spec, seed, length, false)
    }

    /// The same, perhaps with guesses in several ways and no n-grams.
    fn reply_with(
        &self,
        spec: &ConstraintSpec,
        seed: u64,
        length: Option<DraftLength>,
        tree: bool,
    ) -> Reply {
        let n_vocab = self.tokenizer.n_vocab();
        let mut target = NoiseModel {
            n_vocab,
            ..NoiseModel::new(1, 2, 1.0)
        };
        let mut draft = NoiseModel {
            n_vocab,
            ..NoiseModel::new(1, 7, 0.9)
        };
        let mut target_sequence = Sequence::new(&mut target).unwrap();
        let mut draft_sequence = Sequence::new(&mut draft).unwrap();
        let lane = Lane {
            executor: &mut draft,
            sequence: &mut draft_sequence,
        };
        let options = GenerateOptions {
            max_tokens: Some(300),
            sampling: SamplingParams {
                temperature: 1.0,
                seed,
                ..Default::default()
            },
            stop_ids: vec![self.end],
            draft_length: length.unwrap_or(DraftLength::Fixed(0)),
            tree,
            ngram: length.filter(|_| !tree).map(|_| NgramDrafter {
                max_ngram: 4,
                min_ngram: 2,
            }),
            ..Default::default()
        };
        let constraint = self.compiler.compile(spec).unwrap();
        let mut generation = Generation::new(
            Lane {
                executor: &mut target,
                sequence: &mut target_sequence,
            },
            length.map(|_| lane),
            &self.tokenizer,
            &[65, 66, 67],
            options,
            Costs::default(),
            ticking(),
        )
        .unwrap()
        .constrained(constraint);
        let (mut text, mut ids, mut reason) = (String::new(), Vec::new(), FinishReason::Length);
        while let Some(step) = pollster::block_on(generation.step()).unwrap() {
            match step {
                Step::Prefilled { .. } => {}
                Step::Made { text: more, tokens } => {
                    text += &more;
                    ids.extend(tokens.iter().map(|token| token.id));
                }
                Step::Finished {
                    text: more,
                    reason: why,
                } => {
                    text += &more;
                    reason = why;
                }
            }
        }
        Reply {
            text,
            ids,
            reason,
            accepted: generation.speculation().num_accepted_tokens,
        }
    }
}

fn specs() -> Vec<ConstraintSpec> {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "city": { "enum": ["Oslo", "Paris", "Lima"] },
            "days": { "type": "integer", "minimum": 1, "maximum": 14 },
            "metric": { "type": "boolean" },
        },
        "required": ["city", "days", "metric"],
        "additionalProperties": false,
    });
    vec![
        ConstraintSpec::json(schema),
        ConstraintSpec::Regex("(yes|no), [a-c]{3,8} [0-9]{2}".into()),
        ConstraintSpec::Choice(vec![
            "the first".into(),
            "the \"second\"".into(),
            "third".into(),
        ]),
        ConstraintSpec::Lark("start: \"<\" item (\",\" item)* \">\"\nitem: /[xyz]{1,3}/".into()),
    ]
}

#[test]
fn whatever_the_model_says_the_reply_looks_as_it_must() {
    let world = World::new();
    for seed in 0..25 {
        let reply = world.reply(&specs()[0], seed, None);
        assert_eq!(reply.reason, FinishReason::Stop, "{:?}", reply.text);
        let value: serde_json::Value = serde_json::from_str(&reply.text).unwrap();
        assert!(["Oslo", "Paris", "Lima"].contains(&value["city"].as_str().unwrap()));
        assert!((1..=14).contains(&value["days"].as_i64().unwrap()));
        assert!(value["metric"].is_boolean());
        let choice = world.reply(&specs()[2], seed, None).text;
        assert!(
            ["the first", "the \"second\"", "third"].contains(&choice.as_str()),
            "{choice:?}"
        );
    }
}

#[test]
fn speculation_does_not_change_a_constrained_reply() {
    let world = World::new();
    let (mut accepted, mut in_trees) = (0, 0);
    for spec in specs() {
        for seed in 0..8 {
            let plain = world.reply(&spec, seed, None);
            for length in [
                DraftLength::Fixed(1),
                DraftLength::Fixed(4),
                DraftLength::Fixed(9),
                DraftLength::Auto,
            ] {
                let reply = world.reply(&spec, seed, Some(length));
                assert_eq!(
                    (reply.ids, reply.text),
                    (plain.ids.clone(), plain.text.clone()),
                    "{spec:?}, {length:?}"
                );
                accepted += reply.accepted;
            }
            for length in [2, 9, 20].map(DraftLength::Fixed) {
                let reply = world.reply_with(&spec, seed, Some(length), true);
                assert_eq!(reply.ids, plain.ids, "{spec:?}, a tree of {length:?}");
                assert_eq!(reply.reason, plain.reason);
                in_trees += reply.accepted;
            }
        }
    }
    assert!(accepted > 100, "{accepted} drafts accepted");
    assert!(in_trees > 100, "{in_trees} drafts accepted in trees");
}

#[test]
fn what_is_not_understood_or_not_supported_is_refused_by_name() {
    let world = World::new();
    let refused = |spec: ConstraintSpec| {
        let error = world.compiler.compile(&spec).err().unwrap();
        (error.code(), error.to_string())
    };
    let (code, text) = refused(ConstraintSpec::json(
        serde_json::json!({ "type": "object", "if": {} }),
    ));
    assert_eq!(code, Code::ConstraintInvalid);
    assert!(
        text.contains("json_schema") && text.contains("if"),
        "{text}"
    );
    let remote = serde_json::json!({ "$ref": "https://example.com/schema.json" });
    assert_eq!(
        refused(ConstraintSpec::json(remote)).0,
        Code::ConstraintInvalid
    );
    let lenient = serde_json::json!({ "x-guidance": { "lenient": true }, "not": {} });
    assert!(
        refused(ConstraintSpec::json(lenient))
            .1
            .contains("x-guidance")
    );
    for none in [serde_json::json!(false), serde_json::json!("string")] {
        assert_eq!(
            refused(ConstraintSpec::json(none)).0,
            Code::ConstraintInvalid
        );
    }
    assert_eq!(
        refused(ConstraintSpec::Regex("(".into())).0,
        Code::ConstraintInvalid
    );
    assert_eq!(
        refused(ConstraintSpec::Lark("start: missing".into())).0,
        Code::ConstraintInvalid
    );
    assert_eq!(
        refused(ConstraintSpec::Choice(vec![])).0,
        Code::ConstraintInvalid
    );
}

#[test]
fn hostile_constraints_end_in_bounded_time() {
    let world = World::new();
    let start = std::time::Instant::now();
    let huge = ConstraintSpec::Regex("a".repeat(MAX_SOURCE_BYTES + 1));
    assert_eq!(
        world.compiler.compile(&huge).err().unwrap().code(),
        Code::ConstraintLimit
    );
    let mut nested = serde_json::json!({ "type": "string" });
    for _ in 0..60 {
        nested =
            serde_json::json!({ "anyOf": [nested.clone(), { "type": "array", "items": nested }] });
        if nested.to_string().len() > MAX_SOURCE_BYTES {
            break;
        }
    }
    assert_eq!(
        world
            .compiler
            .compile(&ConstraintSpec::json(nested))
            .err()
            .unwrap()
            .code(),
        Code::ConstraintLimit
    );
    for spec in [
        ConstraintSpec::Regex("((((a{0,99}){0,99}){0,99}){0,99}){0,99}b".into()),
        ConstraintSpec::Regex("(.*a){30}".into()),
    ] {
        // Either is an answer, if it comes soon.
        if let Ok(mut constraint) = world.compiler.compile(&spec) {
            let _ = constraint.mask();
        }
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
