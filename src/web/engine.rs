//! A loaded model, and the replies it makes.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::wasm_bindgen;

use super::source::{self, Listener, Place};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::chat::session::{LoadOptions, LoadedModel, Session, check_messages};
use crate::chat::template::{LocalTime, RenderRequest, TemplateSource};
use crate::decode::{FinishReason, GenerateOptions, SamplingParams, Step};
use crate::error::{Code, Error, Result};
use crate::format::LocalFuture;

/// What to load: `LoadRequest` of `www/lib/protocol.ts`.
pub struct Request {
    /// The model that speaks.
    pub target: Place,
    /// The model that guesses.
    pub draft: Option<Place>,
    /// What computes.
    pub device: Device,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A real GPU where there is one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU, even an emulated one.
    Gpu,
}

/// What was loaded, for the page: `ModelInfo` of `www/lib/types.ts`.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// The model's own name for itself, or its file's.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// How many weights it has.
    pub n_parameters: u64,
    /// The context window in use.
    pub context_tokens: usize,
    /// What computes.
    pub device: String,
    /// The model that guesses.
    pub draft_name: Option<String>,
    /// Whether it was made to chat.
    pub has_chat_template: bool,
}

/// What to reply to: `GenerateRequest["prompt"]` of `www/lib/protocol.ts`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A conversation, for the model's template.
    Messages(serde_json::Value),
    /// Text to continue.
    Text(String),
}

/// How to draw tokens: `SamplingOptions` of `www/lib/types.ts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    max_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    min_p: Option<f32>,
    seed: Option<u32>,
    stop: Stop,
}

/// One stop string or several, as OpenAI's API has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

impl Default for Stop {
    fn default() -> Self {
        Stop::Several(Vec::new())
    }
}

/// How a reply ended: `ReplyEnd` of `www/lib/types.ts`.
#[derive(Debug, Clone, Serialize)]
pub struct ReplyEnd {
    finish_reason: &'static str,
    usage: Usage,
    timings: Timings,
}

#[derive(Debug, Clone, Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
}

#[derive(Debug, Clone, Serialize)]
struct Timings {
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
}

/// Called with each piece of text (empty ones too); answers whether to go on.
pub type OnText<'a> = &'a dyn Fn(String) -> LocalFuture<'a, Result<bool>>;

/// A session, and what the page is told of it.
pub struct LoadedSession {
    info: Info,
    session: Session,
}

impl LoadedSession {
    /// Loads what `request` asks for.
    ///
    /// # Errors
    /// What each layer reports.
    pub async fn load(request: Request, listener: Listener) -> Result<Self> {
        let backend = open_backend(request.device).await?;
        let options = LoadOptions::default();
        let checkpoint = source::open(request.target, Rc::clone(&listener)).await?;
        let target = LoadedModel::load(&checkpoint, backend.as_ref(), &options).await?;
        let draft = match request.draft {
            None => None,
            Some(place) => {
                let checkpoint = source::open(place, listener).await?;
                Some(LoadedModel::load(&checkpoint, backend.as_ref(), &options).await?)
            }
        };
        let mut session = Session::new(target, draft, Rc::new(now_s))?;
        if session.draft().is_some() {
            session.warm_up().await?;
        }
        let target = session.target();
        let info = Info {
            name: target.name.clone(),
            architecture: target.model.spec.architecture.to_string(),
            n_parameters: target.model.n_parameters(),
            context_tokens: target.context_tokens(),
            device: target.device.clone(),
            draft_name: session.draft().map(|draft| draft.name.clone()),
            has_chat_template: target.template.source() == TemplateSource::Checkpoint,
        };
        Ok(Self { info, session })
    }

    /// What was loaded.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Makes a reply, handing each piece of it to `on_text`.
    ///
    /// # Errors
    /// `aborted` where `on_text` says to stop; `request_invalid`, `context_overflow`,
    /// or what the model reports.
    pub async fn generate(
        &mut self,
        prompt: Prompt,
        sampling: Sampling,
        on_text: OnText<'_>,
    ) -> Result<ReplyEnd> {
        let prompt = self.encode(prompt)?;
        let began_s = now_s();
        let options = sampling.options(self.session.target().tokenizer.stop_ids());
        let mut generation = self.session.reply(&prompt, options)?;
        let mut first_s = None;
        let mut finish = FinishReason::Length;
        while let Some(step) = generation.step().await? {
            let text = match step {
                Step::Prefilled { .. } => String::new(),
                Step::Made { text, .. } => {
                    first_s.get_or_insert_with(now_s);
                    text
                }
                Step::Finished { text, reason } => {
                    finish = reason;
                    text
                }
            };
            if !on_text(text).await? {
                return Err(Error::new(Code::Aborted, "", "stopped"));
            }
        }
        let usage = generation.usage();
        let since_first_s = now_s() - first_s.unwrap_or(began_s);
        let end = ReplyEnd {
            finish_reason: finish.as_str(),
            usage: Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
            },
            timings: Timings {
                prefill_tokens_per_s: generation.prefill_tokens_per_s(),
                decode_tokens_per_s: usage.completion_tokens.saturating_sub(1) as f64
                    / since_first_s.max(1e-6),
            },
        };
        let costs = generation.costs().clone();
        drop(generation);
        self.session.learn(costs);
        Ok(end)
    }

    fn encode(&self, prompt: Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Text(text) => self.session.encode_text(&text, false),
            Prompt::Messages(messages) => self.session.encode_messages(&RenderRequest {
                add_generation_prompt: true,
                ..RenderRequest::new(check_messages(&messages)?, local_time())
            }),
        }
    }
}

/// The backend that `device` stands for here.
async fn open_backend(device: Device) -> Result<Box<dyn Backend>> {
    match device {
        Device::Cpu => Ok(Box::new(CpuBackend::default())),
        #[cfg(feature = "gpu")]
        Device::Auto | Device::Gpu => {
            use crate::backend::gpu::{CacheType, Gpu, GpuBackend, GpuOptions};
            match Gpu::open(&GpuOptions::default()).await {
                // An emulated GPU is slower than the processor that emulates it.
                Ok(gpu) if device == Device::Auto && gpu.capabilities().is_software => {
                    Ok(Box::new(CpuBackend::default()))
                }
                Ok(gpu) => Ok(Box::new(GpuBackend::new(gpu, CacheType::default()))),
                Err(_) if device == Device::Auto => Ok(Box::new(CpuBackend::default())),
                Err(error) => Err(error),
            }
        }
        #[cfg(not(feature = "gpu"))]
        Device::Auto => Ok(Box::new(CpuBackend::default())),
        #[cfg(not(feature = "gpu"))]
        Device::Gpu => {
            let detail = "this build has no GPU backend";
            Err(Error::new(Code::GpuUnavailable, "device", detail))
        }
    }
}

/// The clock on the wall of whoever reads the page.
fn local_time() -> LocalTime {
    let now = js_sys::Date::new_0();
    let local_ms = now.get_time() - now.get_timezone_offset() * 60_000.0;
    LocalTime::from_unix((local_ms / 1000.0) as i64)
}

impl Sampling {
    fn options(self, stop_ids: &[u32]) -> GenerateOptions {
        let base = SamplingParams::default();
        GenerateOptions {
            max_tokens: self.max_tokens,
            sampling: SamplingParams {
                temperature: self.temperature.unwrap_or(base.temperature),
                top_p: self.top_p.unwrap_or(base.top_p),
                top_k: self.top_k.unwrap_or(base.top_k),
                min_p: self.min_p.unwrap_or(base.min_p),
                seed: self.seed.map_or(base.seed, u64::from),
                ..base
            },
            stop: match self.stop {
                Stop::One(stop) => vec![stop],
                Stop::Several(stops) => stops,
            },
            stop_ids: stop_ids.to_vec(),
            ..GenerateOptions::default()
        }
    }
}

#[wasm_bindgen]
extern "C" {
    /// Milliseconds; windows and workers both have it.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now_ms() -> f64;
}

/// Seconds since the worker began.
fn now_s() -> f64 {
    now_ms() / 1000.0
}
