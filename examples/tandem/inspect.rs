//! `inspect`: what a checkpoint is, from its headers.

use std::collections::BTreeMap;

use clap::Args;
use pollster::block_on;
use serde_json::{Value, json};
use tandem::Result;
use tandem::format::Config;
use tandem::model::Model;
use tandem::tokenizer::Tokenizer;

use super::load::{Role, open};
use super::print_json;

#[derive(Args)]
pub struct Inspect {
    /// The model.
    model: String,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Inspect) -> Result<()> {
    let checkpoint = open(&args.model, Role::Target)?;
    let mut report = json!({
        "name": checkpoint.name(),
        "container": match &checkpoint.config {
            Config::Gguf(_) => "gguf",
            Config::HuggingFace(_) => "safetensors",
        },
        "tensors": checkpoint.tensors.len(),
    });
    let mut bytes = 0u64;
    let mut dtypes: BTreeMap<String, usize> = BTreeMap::new();
    for info in checkpoint.tensors.iter() {
        bytes += info.range.end - info.range.start;
        *dtypes.entry(info.dtype.to_string()).or_default() += 1;
    }
    report["weight_bytes"] = json!(bytes);
    report["dtypes"] = json!(dtypes);
    // A file with a vocabulary and no weights is still worth a look.
    if !checkpoint.tensors.is_empty() {
        let model = block_on(Model::open(&checkpoint))?;
        let spec = &model.spec;
        report["architecture"] = json!(spec.architecture);
        report["parameters"] = json!(model.n_parameters());
        report["context_tokens"] = json!(spec.context_tokens);
        report["n_vocab"] = json!(model.weights.n_vocab());
        report["n_embd"] = json!(spec.n_embd);
        report["n_layers"] = json!(spec.layers.len());
        if let Some(layer) = spec.layers.first() {
            report["n_ff"] = json!(layer.n_ff);
            report["n_heads"] = json!(layer.heads.n_heads);
            report["n_kv_heads"] = json!(layer.heads.n_kv_heads);
            report["head_dim"] = json!(layer.heads.head_dim);
        }
        let sliding = spec.layers.iter().filter(|layer| layer.window.is_some());
        report["sliding_layers"] = json!(sliding.count());
        let unrotated = spec.layers.iter().filter(|layer| layer.rope.is_none());
        report["layers_without_positions"] = json!(unrotated.count());
        let cache: usize = model.plan(1)?.cache.iter().map(|layer| layer.width).sum();
        report["cache_bytes_per_token"] = json!(cache * 2 * size_of::<f32>());
    }
    report["tokenizer"] = match Tokenizer::from_checkpoint(&checkpoint) {
        Ok(tokenizer) => json!({
            "n_vocab": tokenizer.n_vocab(),
            "bos_id": tokenizer.bos_id(),
            "eos_id": tokenizer.eos_id(),
            "stop_ids": tokenizer.stop_ids(),
            "notes": tokenizer.notes(),
        }),
        Err(error) => json!({ "error": error.to_string(), "code": error.code().as_str() }),
    };
    report["chat_template"] = json!(has_template(&checkpoint));
    if args.json {
        print_json(&report);
    } else if let Value::Object(fields) = &report {
        for (field, value) in fields {
            println!("{:26}{value}", field.replace('_', " "));
        }
    }
    Ok(())
}

fn has_template(checkpoint: &tandem::format::Checkpoint) -> bool {
    let in_config = |text: &str| text.contains("\"chat_template\"");
    match &checkpoint.config {
        Config::Gguf(metadata) => metadata.value("tokenizer.chat_template").is_some(),
        Config::HuggingFace(_) => {
            checkpoint.text_file("chat_template.jinja").is_some()
                || checkpoint.text_file("chat_template.json").is_some()
                || checkpoint
                    .text_file("tokenizer_config.json")
                    .is_some_and(in_config)
        }
    }
}
