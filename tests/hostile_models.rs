//! Checkpoints whose containers are sound and whose models are not: each gives an
//! error with a code, about the thing at fault, and nothing panics.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use tandem::backend::cpu::CpuBackend;
use tandem::backend::{Backend, CompileOptions, LogitRows, Rows};
use tandem::format::{Checkpoint, FileSet};
use tandem::model::Model;
use tandem::{Code, Error};

/// A golden's parts, to be spoilt and put together again.
struct Parts {
    config: Value,
    /// Of each tensor: element type, shape, bytes.
    tensors: BTreeMap<String, (String, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(case: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/architectures");
        let config = std::fs::read(root.join(case).join("config.json")).unwrap();
        let file = std::fs::read(root.join(case).join("model.safetensors")).unwrap();
        let header_len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Map<String, Value> = serde_json::from_slice(&file[8..8 + header_len]).unwrap();
        let data = &file[8 + header_len..];
        let tensors = header
            .into_iter()
            .filter(|(name, _)| name != "__metadata__");
        let tensors = tensors.map(|(name, info)| {
            let numbers = |key: &str| -> Vec<usize> {
                let list = info[key].as_array().unwrap().iter();
                list.map(|n| n.as_u64().unwrap() as usize).collect()
            };
            let range = numbers("data_offsets");
            let bytes = data[range[0]..range[1]].to_vec();
            let dtype = info["dtype"].as_str().unwrap().to_string();
            (name, (dtype, numbers("shape"), bytes))
        });
        Self {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: tensors.collect(),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        let (mut header, mut data) = (Map::new(), Vec::new());
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let range = [data.len(), data.len() + bytes.len()];
            header.insert(
                name.clone(),
                json!({"dtype": dtype, "shape": shape, "data_offsets": range}),
            );
            data.extend_from_slice(bytes);
        }
        let header = Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&data);
        let mut folder = FileSet::new("spoilt");
        folder.add_bytes("config.json", self.config.to_string().into_bytes());
        folder.add_bytes("model.safetensors", file);
        pollster::block_on(Checkpoint::open_folder(&folder)).unwrap()
    }

    /// Opens, compiles and runs it.
    fn run(&self) -> Result<Vec<f32>, Error> {
        let checkpoint = self.checkpoint();
        pollster::block_on(async {
            let model = Model::open(&checkpoint).await?;
            let plan = model.plan(8)?;
            let options = CompileOptions {
                capacity_tokens: 8,
                ..CompileOptions::default()
            };
            let backend = CpuBackend::default();
            let compiled = backend.compile(&plan, &checkpoint.tensors, &options);
            let mut executor = compiled.await?;
            let cache = executor.new_cache()?;
            let rows = Rows::chain([1, 2, 3]);
            executor.forward(cache, &rows, LogitRows::All).await
        })
    }

    #[track_caller]
    fn fails(&self, code: Code, subject: &str) {
        match self.run() {
            Ok(_) => panic!("expected {code} about {subject}"),
            Err(error) => assert_eq!((error.code(), error.subject()), (code, subject), "{error}"),
        }
    }
}

#[test]
fn what_is_not_spoilt_runs() {
    assert_eq!(Parts::of("llama").run().unwrap().len(), 3 * 96);
}

#[test]
fn a_configuration_field_that_makes_no_sense_is_named() {
    for (field, value, subject) in [
        ("model_type", json!(7), "model_type"),
        ("model_type", Value::Null, "model_type"),
        ("hidden_size", Value::Null, "hidden_size"),
        ("hidden_size", json!("wide"), "hidden_size"),
        ("hidden_size", json!(-1), "hidden_size"),
        ("hidden_size", json!(33), "hidden_size"),
        ("hidden_size", json!(0), "width"),
        ("num_hidden_layers", json!(0), "number of layers"),
        ("num_hidden_layers", json!(1u64 << 60), "num_hidden_layers"),
        ("num_attention_heads", json!(0), "hidden_size"),
        ("num_key_value_heads", json!(3), "key and value heads"),
        ("num_key_value_heads", json!(0), "key and value heads"),
        ("head_dim", json!(0), "head size"),
        ("head_dim", json!(7), "rotating dimensions"),
        ("head_dim", json!(u64::MAX), "head size"),
        ("intermediate_size", json!(0), "feed-forward width"),
        ("intermediate_size", json!(1u64 << 40), "feed-forward width"),
        ("max_position_embeddings", json!(0), "context length"),
        ("rms_norm_eps", json!(-1.0), "norm epsilon"),
        ("rms_norm_eps", json!("small"), "rms_norm_eps"),
        ("rope_theta", json!(0.0), "rope_theta"),
        ("rope_theta", json!([]), "rope_theta"),
        ("hidden_act", json!("relu"), "hidden_act"),
        ("sliding_window", json!(0), "sliding window"),
        ("layer_types", json!(["full_attention"]), "layer_types"),
        ("layer_types", json!(["odd", "odd"]), "layer_types"),
        ("rope_scaling", json!("yarn"), "rope_scaling"),
        (
            "rope_scaling",
            json!({"rope_type": "magic"}),
            "rope_scaling",
        ),
        (
            "rope_scaling",
            json!({"type": "linear"}),
            "rope_scaling.factor",
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 0}),
            "rope_scaling",
        ),
        (
            "rope_scaling",
            json!({"type": "longrope", "long_factor": [1], "short_factor": [1]}),
            "rope_scaling",
        ),
        ("partial_rotary_factor", json!(2.0), "partial_rotary_factor"),
        ("attn_logit_softcapping", json!(0.0), "attention soft-cap"),
        ("logits_scaling", json!(0.0), "logit scale"),
    ] {
        let mut parts = Parts::of("llama");
        parts.config[field] = value.clone();
        let error = match parts.run() {
            Ok(_) => panic!("{field} = {value} runs"),
            Err(error) => error,
        };
        assert_eq!(
            (error.code(), error.subject()),
            (Code::ConfigInvalid, subject),
            "{field} = {value}: {error}"
        );
    }
}

#[test]
fn an_architecture_outside_the_table_is_named() {
    let mut parts = Parts::of("llama");
    parts.config["model_type"] = json!("mamba");
    parts.fails(Code::ArchitectureUnknown, "mamba");
}

#[test]
fn a_configuration_that_is_no_object_is_refused() {
    let mut parts = Parts::of("llama");
    parts.config = json!([1, 2]);
    parts.fails(Code::ConfigInvalid, "config.json");
}

#[test]
fn a_tensor_that_is_not_there_is_named() {
    for (removed, subject) in [
        ("model.norm.weight", "output_norm.weight"),
        (
            "model.layers.1.self_attn.q_proj.weight",
            "blk.1.attn_q.weight",
        ),
        (
            "model.layers.0.input_layernorm.weight",
            "blk.0.attn_norm.weight",
        ),
        (
            "model.layers.0.post_attention_layernorm.weight",
            "blk.0.ffn_norm.weight",
        ),
        (
            "model.layers.1.mlp.gate_proj.weight",
            "blk.1.ffn_gate.weight",
        ),
        (
            "model.layers.1.mlp.down_proj.weight",
            "blk.1.ffn_down.weight",
        ),
    ] {
        let mut parts = Parts::of("llama");
        parts.tensors.remove(removed).unwrap();
        parts.fails(Code::TensorMissing, subject);
    }
    let mut parts = Parts::of("llama-tied");
    parts.tensors.remove("model.embed_tokens.weight").unwrap();
    parts.fails(Code::TensorMissing, "token_embd.weight");
}

#[test]
fn either_table_alone_serves_for_both() {
    let tied = Parts::of("llama-tied");
    let expected = tied.run().unwrap();
    let mut parts = Parts::of("llama-tied");
    let table = parts.tensors.remove("model.embed_tokens.weight").unwrap();
    parts.tensors.insert("lm_head.weight".into(), table);
    assert_eq!(parts.run().unwrap(), expected);
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for (tensor, shape, subject) in [
        ("model.embed_tokens.weight", [95, 32], "token_embd.weight"),
        (
            "model.layers.0.self_attn.k_proj.weight",
            [15, 32],
            "blk.0.attn_k.weight",
        ),
        (
            "model.layers.1.mlp.up_proj.weight",
            [32, 48],
            "blk.1.ffn_up.weight",
        ),
    ] {
        let mut parts = Parts::of("llama");
        let (_, found, bytes) = parts.tensors.get_mut(tensor).unwrap();
        *found = shape.to_vec();
        bytes.truncate(shape[0] * shape[1] * 2);
        parts.fails(Code::TensorShape, subject);
    }
    // The configuration may be the one that is wrong.
    let mut parts = Parts::of("llama");
    parts.config["vocab_size"] = json!(97);
    parts.fails(Code::TensorShape, "token_embd.weight");
}

#[test]
fn an_element_type_that_cannot_be_read_is_an_error_only_where_it_is_needed() {
    let mut parts = Parts::of("llama");
    parts.tensors.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        ("I64".into(), vec![1], vec![0; 8]),
    );
    parts.run().unwrap();
    parts.tensors.get_mut("model.norm.weight").unwrap().0 = "I16".into();
    parts.fails(Code::DtypeUnsupported, "output_norm.weight");
}

#[test]
fn a_weight_that_is_not_a_number_is_named_at_load() {
    for (tensor, subject) in [
        ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
        (
            "model.layers.1.self_attn.v_proj.weight",
            "blk.1.attn_v.weight",
        ),
    ] {
        for bf16 in [0x7fc0u16, 0x7f80, 0xff80] {
            let mut parts = Parts::of("llama");
            let (_, _, bytes) = parts.tensors.get_mut(tensor).unwrap();
            let at = bytes.len() - 2;
            bytes[at..].copy_from_slice(&bf16.to_le_bytes());
            parts.fails(Code::NotFinite, subject);
        }
    }
}

/// Finite weights can still overflow: such logits are never handed to a sampler.
#[test]
fn logits_that_are_not_numbers_do_not_come_back() {
    let mut parts = Parts::of("llama");
    let (_, _, bytes) = parts.tensors.get_mut("lm_head.weight").unwrap();
    for element in bytes.chunks_exact_mut(2) {
        element.copy_from_slice(&0x7f7fu16.to_le_bytes()); // the largest BF16
    }
    parts.fails(Code::NotFinite, "logits");
}

#[test]
fn a_memory_budget_is_kept() {
    let checkpoint = Parts::of("llama").checkpoint();
    let model = pollster::block_on(Model::open(&checkpoint)).unwrap();
    let plan = model.plan(8).unwrap();
    let compile = |budget: u64| {
        let options = CompileOptions {
            capacity_tokens: 8,
            memory_budget_bytes: Some(budget),
        };
        pollster::block_on(CpuBackend::default().compile(&plan, &checkpoint.tensors, &options))
            .err()
    };
    assert!(compile(1 << 20).is_none());
    assert_eq!(compile(1 << 12).unwrap().code(), Code::OutOfMemory);
}
