//! `bench`: what passes cost here, and what speculation makes of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use clap::Args;
use pollster::block_on;
use serde_json::{Value, json};
use tandem::backend::{CacheId, Counters, Executor, LogitRows, Rows};
use tandem::chat::session::{LoadOptions, LoadedModel};
use tandem::decode::cost::{Costs, DraftLength, warm_up};
use tandem::decode::draft::{
    Draft, Drafter, Drawing, ModelDrafter, NgramDrafter, Proposal, Source,
};
use tandem::decode::made::LogprobsWanted;
use tandem::decode::noise;
use tandem::decode::round::{Clock, Decoder, DecoderParts};
use tandem::decode::sequence::PREFILL_CHUNK_TOKENS;
use tandem::decode::statistics::Speculation;
use tandem::decode::verify::Verification;
use tandem::decode::{Sampler, SamplingParams, Sequence};
use tandem::format::{ByteSource, Checkpoint, LocalFuture};
use tandem::model::shape::Shape;
use tandem::tokenizer::{EncodeOptions, Tokenizer};
use tandem::{Code, Error, Result};

use super::constrained::{self, Constrained};
use super::load::{Devices, Role, open};
use super::{Running, print_json};

/// Measures a model, or the shape of one with random weights.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["model", "shape"])))]
pub struct Bench {
    /// The model.
    #[arg(long)]
    model: Option<String>,
    /// Random weights of a published model's shape, such as llama-3.2-1b.
    #[arg(long, value_name = "NAME")]
    shape: Option<String>,
    /// The weights' type, with --shape: f32, f16, bf16, q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "Q", default_value = "q8_0")]
    quant: String,
    /// A small model with the same tokenizer that guesses ahead.
    #[arg(long, value_name = "MODEL", conflicts_with = "draft_shape")]
    draft: Option<String>,
    /// Guess from what the text already said.
    #[arg(long, conflicts_with_all = ["draft", "draft_shape"])]
    ngram: bool,
    /// Text to go on from, in place of a story of so many tokens.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["prompt_tokens", "shape"])]
    prompt: Option<String>,
    /// What holding a reply to this JSON schema costs; --prompt is what the user says.
    #[arg(long, value_name = "FILE.json", requires_all = ["model", "prompt"],
        conflicts_with_all = ["ngram", "draft_shape"])]
    schema: Option<PathBuf>,
    /// A draft of this shape: it costs what it costs, and its guesses are made right
    /// as often as --acceptance says.
    #[arg(long, value_name = "NAME")]
    draft_shape: Option<String>,
    /// How often a guess of a --draft-shape is right.
    #[arg(long, value_name = "A", default_value_t = 0.8)]
    acceptance: f64,
    /// Tokens read before anything is timed.
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: usize,
    /// Tokens made in each run.
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_tokens: usize,
    /// Row counts of the passes to time.
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "1,2,4,8"
    )]
    rows: Vec<usize>,
    /// Runs of everything, in turns; medians are printed.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Writes the random weights as a GGUF file instead, for other programs.
    #[arg(long, value_name = "FILE", requires = "shape")]
    write: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

pub fn run(args: &Bench) -> Result<()> {
    check(args)?;
    if let (Some(schema), Some(model), Some(prompt)) = (&args.schema, &args.model, &args.prompt) {
        return constrained::run(&Constrained {
            model,
            draft: args.draft.as_deref(),
            schema,
            prompt,
            max_tokens: args.max_tokens,
            repeat: args.repeat,
            json: args.json,
            running: &args.running,
        });
    }
    if let (Some(file), Some(shape)) = (&args.write, &args.shape) {
        return write(Shape::named(shape)?.gguf(&args.quant)?.as_ref(), file);
    }
    let devices = Devices::open(&args.running)?;
    let mut target = load(&args.model, &args.shape, Role::Target, args, &devices)?;
    let mut draft = match (&args.draft, &args.draft_shape) {
        (None, None) => None,
        (model, shape) => Some(load(model, shape, Role::Draft, args, &devices)?),
    };
    let prompt = match (&args.shape, &args.prompt) {
        (Some(_), _) => any_ids(args.prompt_tokens),
        (None, Some(text)) => target.model.tokenizer.encode(text, PLAIN_TEXT)?,
        (None, None) => story(&target.model.tokenizer, args.prompt_tokens)?,
    };
    if prompt.is_empty() {
        return Err(Error::new(Code::RequestInvalid, "prompt", "holds no token"));
    }

    let mut bench = Runs {
        args,
        prompt: &prompt,
        clock: clock(),
        reference: Vec::new(),
    };
    let costs = {
        let draft = draft.as_mut().map(|draft| draft.model.executor());
        block_on(warm_up(target.model.executor(), draft, &bench.clock))?
    };
    let passes = bench.passes(target.model.executor())?;
    let mut plain = Vec::new();
    let mut guided: Vec<(DraftLength, Vec<Run>)> = Vec::new();
    let lengths = [
        DraftLength::Fixed(1),
        DraftLength::Fixed(2),
        DraftLength::Fixed(4),
        DraftLength::Fixed(8),
        DraftLength::Auto,
    ];
    if draft.is_some() || args.ngram {
        guided.extend(lengths.map(|length| (length, Vec::new())));
    }
    for _ in 0..args.repeat {
        plain.push(bench.run(&mut target.model, None, DraftLength::Fixed(0), &costs)?);
        for (length, runs) in &mut guided {
            let draft = draft.as_mut().map(|draft| &mut draft.model);
            runs.push(bench.run(&mut target.model, draft, *length, &costs)?);
        }
    }

    let mut report = json!({
        "model": describe(&target),
        "device": target.model.device,
        "prompt_tokens": prompt.len(),
        "max_tokens": args.max_tokens,
        "repeat": args.repeat,
        "load_s": target.load_s,
        "prefill_tokens_per_s": median(plain.iter().map(|run| run.prefill_tokens_per_s)),
        "decode_tokens_per_s": median(plain.iter().map(Run::tokens_per_s)),
        "rows": passes,
    });
    if let Some(run) = plain.last() {
        add_counters(&mut report, run, args.max_tokens, "per_token");
    }
    if let Some(bandwidth) = bandwidth_bytes_per_s(&target.model) {
        // Every weight but the rows of an untied embedding table that no token asks for.
        let bytes = target.bytes_per_token as f64;
        report["roofline"] = json!({
            "bytes_per_token": bytes,
            "bandwidth_bytes_per_s": bandwidth,
            "tokens_per_s": bandwidth / bytes,
            "fraction": median(plain.iter().map(Run::tokens_per_s)) * bytes / bandwidth,
        });
    }
    if let Some(draft) = &draft {
        report["draft"] = describe(draft);
        report["draft"]["step_s"] = json!(costs.draft_step_s());
    }
    if !guided.is_empty() {
        let plain_rate = median(plain.iter().map(Run::tokens_per_s));
        // Only a model always guesses as many tokens as it is asked for.
        let costs = draft.is_some().then_some(&costs);
        report["speculation"] = guided
            .iter()
            .map(|(length, runs)| speculation(*length, runs, plain_rate, costs))
            .collect();
    }
    match args.json {
        true => print_json(&report),
        false => print_text(&report),
    }
    Ok(())
}

fn print_text(report: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    println!(
        "{} on {}: prefill {:.1} tokens/s, decode {:.1} tokens/s",
        report["model"]["name"].as_str().unwrap_or_default(),
        report["device"].as_str().unwrap_or_default(),
        number(&report["prefill_tokens_per_s"]),
        number(&report["decode_tokens_per_s"]),
    );
    if let Some(roofline) = report.get("roofline") {
        println!(
            "reading {:.1} MB a token at {:.1} GB/s would allow {:.1} tokens/s: {:.0} % of that",
            number(&roofline["bytes_per_token"]) / 1e6,
            number(&roofline["bandwidth_bytes_per_s"]) / 1e9,
            number(&roofline["tokens_per_s"]),
            100.0 * number(&roofline["fraction"]),
        );
    }
    println!("\nrows      ms  of one row");
    for pass in report["rows"].as_array().into_iter().flatten() {
        println!(
            "{:4} {:7.2}  {:10.2}",
            number(&pass["rows"]),
            1e3 * number(&pass["pass_s"]),
            number(&pass["ratio"]),
        );
    }
    let Some(lengths) = report["speculation"].as_array() else {
        return;
    };
    println!(
        "\ndraft step {:.2} ms",
        1e3 * number(&report["draft"]["step_s"])
    );
    println!("length  tokens/s  a round  speed-up  predicted");
    for length in lengths {
        println!(
            "{:>6}  {:8.1}  {:7.2}  {:8.2}  {:>9}",
            length["draft_length"].to_string().trim_matches('"'),
            number(&length["decode_tokens_per_s"]),
            number(&length["mean_acceptance_length"]),
            number(&length["speedup"]),
            length["predicted_speedup"]
                .as_f64()
                .map_or("-".into(), |speedup| format!("{speedup:.2}")),
        );
    }
}

fn check(args: &Bench) -> Result<()> {
    let invalid =
        |option: &str, detail: &str| Err(Error::new(Code::RequestInvalid, option, detail));
    if !(0.0..=1.0).contains(&args.acceptance) {
        return invalid("acceptance", "must lie between 0 and 1");
    }
    for (option, n) in [
        ("prompt-tokens", args.prompt_tokens),
        ("max-tokens", args.max_tokens),
        ("repeat", args.repeat),
        ("rows", args.rows.iter().copied().min().unwrap_or(0)),
    ] {
        if n == 0 {
            return invalid(option, "must be 1 or more");
        }
    }
    Ok(())
}

/// Copies a source into a file, a few megabytes at a time.
fn write(source: &dyn ByteSource, path: &Path) -> Result<()> {
    const CHUNK_BYTES: u64 = 8 << 20;
    let failed = |error: std::io::Error| {
        Error::new(
            Code::SourceUnreadable,
            path.display().to_string(),
            error.to_string(),
        )
    };
    let mut file = std::fs::File::create(path).map_err(failed)?;
    let mut at = 0;
    while at < source.len_bytes() {
        let end = (at + CHUNK_BYTES).min(source.len_bytes());
        file.write_all(&block_on(source.read(at..end))?)
            .map_err(failed)?;
        at = end;
    }
    eprintln!("{}: {at} bytes", path.display());
    Ok(())
}

/// A model to measure.
struct Subject {
    model: LoadedModel,
    /// From opening the file to being ready.
    load_s: f64,
    /// Bytes of weights that making a token reads.
    bytes_per_token: u64,
}

fn load(
    model: &Option<String>,
    shape: &Option<String>,
    role: Role,
    args: &Bench,
    devices: &Devices,
) -> Result<Subject> {
    let start = Instant::now();
    let checkpoint = match (model, shape) {
        (Some(model), _) => open(model, role)?,
        (None, shape) => {
            let file = Shape::named(shape.as_deref().unwrap_or_default())?.gguf(&args.quant)?;
            block_on(Checkpoint::open_gguf(vec![file]))?
        }
    };
    let needed =
        args.prompt.as_ref().map_or(args.prompt_tokens, String::len) + args.max_tokens + 32;
    let options = LoadOptions {
        context_tokens: Some(args.running.context.unwrap_or(needed)),
        memory_budget_bytes: args.running.memory_budget,
    };
    let model = block_on(LoadedModel::load(&checkpoint, devices.backend(), &options))?;
    let load_s = start.elapsed().as_secs_f64();
    let head = checkpoint.tensors.get("output.weight").is_some();
    let bytes_per_token = checkpoint
        .tensors
        .iter()
        .filter(|info| !(head && info.name == "token_embd.weight"))
        .map(|info| info.range.end - info.range.start)
        .sum();
    eprintln!("{}: {load_s:.2} s", model.name);
    Ok(Subject {
        model,
        load_s,
        bytes_per_token,
    })
}

fn describe(subject: &Subject) -> Value {
    json!({
        "name": subject.model.name,
        "parameters": subject.model.model.n_parameters(),
        "weight_bytes_per_token": subject.bytes_per_token,
    })
}

/// Ids that mean nothing, the same every time: every vocabulary has that many.
fn any_ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| noise::hash(0, i, 0) % 256).collect()
}

/// The beginning of a story, told again until it is `n` tokens long: a model that
/// guesses needs something that makes sense.
fn story(tokenizer: &Tokenizer, n: usize) -> Result<Vec<u32>> {
    const STORY: &str = "Once upon a time, there was a little girl named Lily. She loved to \
        play outside in the park. One day, she saw a big red ball under a tree. She wanted to \
        play with it, but a boy was already holding it. ";
    let ids = tokenizer.encode(STORY, PLAIN_TEXT)?;
    Ok(ids.iter().copied().cycle().take(n).collect())
}

/// Text that holds no control tokens.
const PLAIN_TEXT: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};

fn clock() -> Clock {
    let start = Instant::now();
    Rc::new(move || start.elapsed().as_secs_f64())
}

/// What all runs share.
struct Runs<'a> {
    args: &'a Bench,
    prompt: &'a [u32],
    clock: Clock,
    /// The text of the first plain run: every other must say the same.
    reference: Vec<u32>,
}

/// One run: a prompt and a reply.
struct Run {
    prefill_tokens_per_s: f64,
    speculation: Speculation,
    /// What the device did to make the reply.
    counters: Option<Counters>,
    num_rounds: usize,
}

impl Run {
    fn tokens_per_s(&self) -> f64 {
        self.speculation.num_tokens as f64 / self.speculation.decode_s
    }
}

impl Runs<'_> {
    /// Times passes over so many rows behind the prompt, in turns.
    fn passes(&self, executor: &mut dyn Executor) -> Result<Value> {
        let cache = executor.new_cache()?;
        self.prefill(executor, cache)?;
        let mut seconds = vec![Vec::new(); self.args.rows.len()];
        // The first turn warms up and does not count.
        for turn in 0..=self.args.repeat.max(5) {
            for (seconds, &n) in seconds.iter_mut().zip(&self.args.rows) {
                let rows = Rows::chain(any_ids(n));
                let start_s = (self.clock)();
                block_on(executor.forward(cache, &rows, LogitRows::All))?;
                if turn > 0 {
                    seconds.push((self.clock)() - start_s);
                }
                executor.truncate(cache, self.prompt.len());
            }
        }
        executor.drop_cache(cache);
        let medians: Vec<f64> = seconds.into_iter().map(median).collect();
        let single = self.args.rows.iter().position(|&n| n == 1);
        let passes = self.args.rows.iter().zip(&medians).map(|(n, pass_s)| {
            let ratio = single.map(|at| pass_s / medians[at]);
            json!({ "rows": n, "pass_s": pass_s, "ratio": ratio })
        });
        Ok(passes.collect())
    }

    /// Reads the prompt into an empty cache; seconds until the logits behind it are here.
    fn prefill(&self, executor: &mut dyn Executor, cache: CacheId) -> Result<f64> {
        let start_s = (self.clock)();
        let mut chunks = self.prompt.chunks(PREFILL_CHUNK_TOKENS).peekable();
        while let Some(chunk) = chunks.next() {
            let wanted = match chunks.peek() {
                Some(_) => LogitRows::None,
                None => LogitRows::Last,
            };
            block_on(executor.forward(cache, &Rows::chain(chunk), wanted))?;
        }
        Ok((self.clock)() - start_s)
    }

    /// Reads the prompt and replies, greedily.
    fn run(
        &mut self,
        target: &mut LoadedModel,
        draft: Option<&mut LoadedModel>,
        length: DraftLength,
        costs: &Costs,
    ) -> Result<Run> {
        let executor = target.executor();
        let cache = executor.new_cache()?;
        let prefill_s = self.prefill(executor, cache)?;
        executor.drop_cache(cache);
        let mut sequence = Sequence::new(executor)?;
        // The last token of the prompt begins the first round.
        let read = &self.prompt[..self.prompt.len() - 1];
        for chunk in read.chunks(PREFILL_CHUNK_TOKENS) {
            block_on(sequence.feed(executor, chunk, LogitRows::None))?;
        }
        let mut draft_sequence = None;
        let looks_up = self.args.ngram && length != DraftLength::Fixed(0);
        let drafter: Option<Box<dyn Drafter + '_>> = match draft {
            None if looks_up => Some(Box::new(NgramDrafter::default())),
            None => None,
            Some(draft) => {
                let executor = draft.executor();
                let sequence = draft_sequence.insert(Sequence::new(executor)?);
                block_on(sequence.feed(executor, read, LogitRows::None))?;
                Some(match self.args.draft_shape {
                    None => Box::new(ModelDrafter::new(executor, sequence, Drawing::Shared)),
                    Some(_) => Box::new(Controlled {
                        executor,
                        sequence,
                        text: &self.reference,
                        n_prompt: self.prompt.len(),
                        acceptance: self.args.acceptance,
                    }),
                })
            }
        };
        let mut decoder = Decoder::new(DecoderParts {
            prompt: self.prompt,
            sampler: Sampler::new(SamplingParams::default())?,
            drafter,
            verification: Verification::Exact,
            constraint: None,
            length,
            trees: false,
            costs: costs.clone(),
            stop_ids: Vec::new(),
            logprobs: LogprobsWanted::default(),
            clock: self.clock.clone(),
        });
        let before = executor.counters();
        let (mut text, mut num_rounds) = (Vec::new(), 0);
        while text.len() < self.args.max_tokens {
            let left = self.args.max_tokens - text.len();
            let made = block_on(decoder.round(executor, &mut sequence, left))?;
            text.extend(made.iter().map(|token| token.id));
            num_rounds += 1;
        }
        let speculation = decoder.speculation();
        drop(decoder);
        if self.reference.is_empty() {
            self.reference = text;
        } else if self.reference != text {
            let detail = "speculation changed the text";
            return Err(Error::new(Code::Internal, "bench", detail));
        }
        Ok(Run {
            prefill_tokens_per_s: self.prompt.len() as f64 / prefill_s,
            speculation,
            counters: before
                .zip(executor.counters())
                .map(|(before, after)| after.since(&before)),
            num_rounds,
        })
    }
}

/// A draft whose passes are real and whose guesses are right as often as asked: what
/// speculation would gain with a draft of this shape and that acceptance.
struct Controlled<'a> {
    executor: &'a mut dyn Executor,
    sequence: &'a mut Sequence,
    /// What the target will say.
    text: &'a [u32],
    n_prompt: usize,
    acceptance: f64,
}

impl Controlled<'_> {
    /// The token after `position` tokens, or another one.
    fn guess(&self, position: usize) -> u32 {
        let right = self
            .text
            .get(position - self.n_prompt)
            .copied()
            .unwrap_or(0);
        let is_right = noise::uniform(1, position as u32, 0) < self.acceptance;
        if is_right { right } else { right ^ 1 }
    }
}

impl Drafter for Controlled<'_> {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        Box::pin(async move {
            let mut tokens = draft.history.tokens().to_vec();
            let from = tokens.len();
            while tokens.len() < from + draft.max {
                let kept = self.sequence.keep_common_prefix(self.executor, &tokens)?;
                let behind = &tokens[kept.min(tokens.len() - 1)..];
                self.sequence
                    .truncate(self.executor, tokens.len() - behind.len());
                let logits = self
                    .sequence
                    .feed(self.executor, behind, LogitRows::Last)
                    .await?;
                // What drawing a token costs is part of what a draft costs.
                draft.sampler.draw(&logits, draft.history, None)?;
                tokens.push(self.guess(tokens.len()));
            }
            let guesses = tokens.split_off(from);
            Ok(Proposal::certain(Source::Draft, guesses))
        })
    }
}

/// What the device did, over `n` of something: names as in [`Counters`].
fn add_counters(report: &mut Value, run: &Run, n: usize, over: &str) {
    let Some(counters) = run.counters else { return };
    for (name, total) in [
        ("dispatches", counters.dispatches),
        ("submits", counters.submits),
        ("readback_bytes", counters.readback_bytes),
        ("buffer_creations", counters.buffer_creations),
        ("bind_group_creations", counters.bind_group_creations),
        ("pipeline_creations", counters.pipeline_creations),
        ("bytes_moved", counters.bytes_moved),
    ] {
        report[format!("{name}_{over}")] = json!(total as f64 / n as f64);
    }
}

/// What a draft length was worth: as measured, and as the formula has it.
fn speculation(length: DraftLength, runs: &[Run], plain_rate: f64, costs: Option<&Costs>) -> Value {
    let rate = median(runs.iter().map(Run::tokens_per_s));
    let mut report = json!({
        "draft_length": match length {
            DraftLength::Fixed(k) => json!(k),
            DraftLength::Auto => json!("auto"),
        },
        "decode_tokens_per_s": rate,
        "speedup": rate / plain_rate,
    });
    let Some(run) = runs.last() else {
        return report;
    };
    add_counters(&mut report, run, run.num_rounds, "per_round");
    let last = &run.speculation;
    report["mean_acceptance_length"] = json!(last.mean_acceptance_length());
    report["accepted_per_position"] = json!(last.accepted_per_position);
    if let (DraftLength::Fixed(k), Some(costs)) = (length, costs) {
        // Tokens a round over its cost in plain steps (Leviathan et al., 2211.17192).
        let round_s = k as f64 * costs.draft_step_s() + costs.pass_s(k + 1);
        let predicted = last.mean_acceptance_length() * costs.pass_s(1) / round_s;
        report["predicted_speedup"] = json!(predicted);
    }
    report
}

/// Bytes a second that this device reads from memory, where that can be told: the
/// best of several passes over a buffer that no cache holds.
fn bandwidth_bytes_per_s(model: &LoadedModel) -> Option<f64> {
    if model.device != "cpu" {
        return None;
    }
    let words = vec![1_u64; 32 << 20];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let sum = words
            .iter()
            .fold(0_u64, |sum, word| sum.wrapping_add(*word));
        std::hint::black_box(sum);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Some((words.len() * size_of::<u64>()) as f64 / best)
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
