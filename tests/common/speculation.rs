//! Speculation on a device: the words are those of plain decoding and of the same models
//! whose logits come back, and a round is one submission and a few words.

#![allow(dead_code, reason = "no test uses all of it")]

use std::cell::Cell;
use std::rc::Rc;

use tandem::Result;
use tandem::backend::gpu::{CacheType, Gpu, GpuBackend};
use tandem::backend::plan::Plan;
use tandem::backend::{Backend, CacheId, CompileOptions, Executor, LogitRows, Rows};
use tandem::chat::session::{LoadOptions, LoadedModel, ReplyRequest, Session};
use tandem::decode::constraint::ConstraintSpec;
use tandem::decode::cost::DraftLength;
use tandem::decode::made::LogprobsWanted;
use tandem::decode::round::Clock;
use tandem::decode::{GenerateOptions, SamplingParams, Step};
use tandem::format::{Checkpoint, LocalFuture, TensorTable};

const STORY: &str = "Once upon a time, there was a little girl named Lily.";

/// The same backend, but its executors run no rounds: their logits come back.
struct LogitsOnly(GpuBackend);

struct LogitsOnlyExecutor(Box<dyn Executor>);

impl Backend for LogitsOnly {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn compile<'a>(
        &'a self,
        plan: &'a Plan,
        tensors: &'a TensorTable,
        options: &'a CompileOptions,
    ) -> LocalFuture<'a, Result<Box<dyn Executor>>> {
        Box::pin(async move {
            let inner = self.0.compile(plan, tensors, options).await?;
            Ok(Box::new(LogitsOnlyExecutor(inner)) as Box<dyn Executor>)
        })
    }
}

impl Executor for LogitsOnlyExecutor {
    fn new_cache(&mut self) -> Result<CacheId> {
        self.0.new_cache()
    }
    fn cache_len(&self, cache: CacheId) -> usize {
        self.0.cache_len(cache)
    }
    fn capacity_tokens(&self) -> usize {
        self.0.capacity_tokens()
    }
    fn truncate(&mut self, cache: CacheId, len: usize) {
        self.0.truncate(cache, len);
    }
    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        self.0.keep(cache, base, path)
    }
    fn fork(&mut self, cache: CacheId) -> Result<CacheId> {
        self.0.fork(cache)
    }
    fn drop_cache(&mut self, cache: CacheId) {
        self.0.drop_cache(cache);
    }
    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>> {
        self.0.forward(cache, rows, logits)
    }
}

/// What is compared.
pub struct Comparison<'a> {
    pub gpu: Rc<Gpu>,
    pub target: &'a Checkpoint,
    pub draft: &'a Checkpoint,
    pub temperatures: &'a [f32],
    pub lengths: &'a [usize],
    pub max_tokens: usize,
}

struct Reply {
    ids: Vec<u32>,
    accepted: usize,
}

impl Comparison<'_> {
    async fn session(&self, backend: &dyn Backend, drafts: bool) -> Session {
        let options = LoadOptions {
            context_tokens: Some(256),
            ..Default::default()
        };
        let target = LoadedModel::load(self.target, backend, &options);
        let target = target.await.unwrap();
        let mut draft = None;
        if drafts {
            let loaded = LoadedModel::load(self.draft, backend, &options);
            draft = Some(loaded.await.unwrap());
        }
        let now = Cell::new(0.0);
        let clock: Clock = Rc::new(move || {
            now.set(now.get() + 1.0);
            now.get()
        });
        Session::new(target, draft, clock).unwrap()
    }

    /// A reply of `max_tokens` ids. Where `counted`, every round but the first, before
    /// which the draft reads the prompt, must be one submit and one small readback.
    async fn reply(
        &self,
        session: &mut Session,
        request: impl Into<ReplyRequest>,
        counted: bool,
    ) -> Reply {
        let prompt = session.encode_text(STORY, false).unwrap();
        let mut generation = session.reply(&prompt, request).unwrap();
        let mut ids = Vec::new();
        loop {
            let before = self.gpu.counters();
            let Some(step) = generation.step().await.unwrap() else {
                break;
            };
            let cost = self.gpu.counters().since(&before);
            if let Step::Made { tokens, .. } = step {
                if counted && !ids.is_empty() {
                    assert_eq!(cost.submits, 1);
                    assert!(cost.readback_bytes < 128, "{}", cost.readback_bytes);
                    assert_eq!(cost.buffer_creations + cost.bind_group_creations, 0);
                }
                ids.extend(tokens.iter().map(|token| token.id));
            }
        }
        let accepted = generation.speculation().num_accepted_tokens;
        Reply { ids, accepted }
    }

    /// Compares, and returns how many drafts were accepted.
    pub async fn assert_same_words(&self) -> usize {
        let backend = GpuBackend::new(self.gpu.clone(), CacheType::F16);
        let logits_only = LogitsOnly(backend.clone());
        let mut alone = self.session(&backend, false).await;
        let mut host = self.session(&logits_only, true).await;
        let mut device = self.session(&backend, true).await;
        let mut accepted = 0;
        for &temperature in self.temperatures {
            let options = |length| GenerateOptions {
                max_tokens: Some(self.max_tokens),
                sampling: SamplingParams {
                    temperature,
                    top_p: 0.95,
                    seed: 5,
                    ..Default::default()
                },
                draft_length: DraftLength::Fixed(length),
                ..Default::default()
            };
            let plain = self.reply(&mut alone, options(0), true).await;
            assert_eq!(plain.ids.len(), self.max_tokens);
            let with_logits = self.reply(&mut host, options(2), false).await;
            assert_eq!(with_logits.ids, plain.ids, "logits back, T = {temperature}");
            for &length in self.lengths {
                let drafted = self.reply(&mut device, options(length), true).await;
                assert_eq!(
                    drafted.ids, plain.ids,
                    "T = {temperature}, {length} a round"
                );
                accepted += drafted.accepted;
            }
        }
        accepted
    }

    /// Every filter and penalty, each at one temperature, with chains and with trees: a tree's
    /// rows run on the device, and its line of right guesses is moved into place there.
    /// Returns how many drafts were accepted, and how many of them in trees.
    pub async fn assert_same_words_whatever_the_request(&self) -> [usize; 2] {
        let backend = GpuBackend::new(self.gpu.clone(), CacheType::F16);
        let mut alone = self.session(&backend, false).await;
        let mut pair = self.session(&backend, true).await;
        let base = SamplingParams {
            seed: 0xdead_beef_0000_0001,
            ..Default::default()
        };
        let requests = [
            base.clone(),
            SamplingParams {
                temperature: 0.7,
                top_k: 20,
                ..base.clone()
            },
            SamplingParams {
                temperature: 1.0,
                min_p: 0.05,
                repetition_penalty: 1.2,
                ..base.clone()
            },
            SamplingParams {
                temperature: 1.5,
                top_p: 0.9,
                frequency_penalty: 0.4,
                presence_penalty: 0.2,
                ..base
            },
        ];
        let mut accepted = [0, 0];
        for sampling in requests {
            let options = |length, tree| GenerateOptions {
                max_tokens: Some(self.max_tokens),
                sampling: sampling.clone(),
                draft_length: length,
                tree,
                ..Default::default()
            };
            let plain = options(DraftLength::Fixed(0), false);
            let plain = self.reply(&mut alone, plain, false).await.ids;
            let lengths = self.lengths.iter().map(|&k| DraftLength::Fixed(k));
            for length in lengths.chain([DraftLength::Auto]) {
                for tree in [false, true] {
                    let got = self.reply(&mut pair, options(length, tree), false).await;
                    assert_eq!(got.ids, plain, "{length:?}, tree {tree}, {sampling:?}");
                    accepted[usize::from(tree)] += got.accepted;
                }
            }
        }
        accepted
    }

    /// Replies held to an expression, with penalties and log-probabilities: what is drawn on
    /// the device under masks is what is drawn here from the logits. Returns how many
    /// drafts were accepted.
    pub async fn assert_same_words_under_a_constraint(&self) -> usize {
        let backend = GpuBackend::new(self.gpu.clone(), CacheType::F16);
        let mut host = self.session(&LogitsOnly(backend.clone()), false).await;
        let mut device = self.session(&backend, true).await;
        let expression = "( [a-z]{2,7}){6,9}\\. The end of it\\.( [a-z]+)*\\.".to_string();
        let mut accepted = 0;
        for temperature in [0.0, 0.9] {
            let request = |length| ReplyRequest {
                constraint: Some(ConstraintSpec::Regex(expression.clone())),
                options: GenerateOptions {
                    max_tokens: Some(self.max_tokens),
                    sampling: SamplingParams {
                        temperature,
                        top_k: 50,
                        frequency_penalty: 0.3,
                        seed: 11,
                        ..Default::default()
                    },
                    logprobs: LogprobsWanted {
                        drawn: true,
                        n_top: 2,
                    },
                    draft_length: DraftLength::Fixed(length),
                    ..Default::default()
                },
            };
            let want = self.reply(&mut host, request(0), false).await.ids;
            for &length in [0].iter().chain(self.lengths) {
                let before = self.gpu.counters();
                let got = self.reply(&mut device, request(length), false).await;
                let read = self.gpu.counters().since(&before).readback_bytes;
                assert_eq!(got.ids, want, "T = {temperature}, {length} a round");
                // A row of logits alone is 16 KiB.
                let each = read / want.len() as u64;
                assert!(each < 400, "{each} bytes back a token");
                accepted += got.accepted;
            }
        }
        accepted
    }

    /// A device that is lost while a reply is made changes nothing about
    /// its words.
    pub async fn assert_survives_a_lost_device(mut self, open: impl Fn() -> Rc<Gpu>) {
        for &temperature in self.temperatures {
            let options = |length| GenerateOptions {
                max_tokens: Some(self.max_tokens),
                sampling: SamplingParams {
                    temperature,
                    seed: 5,
                    ..Default::default()
                },
                draft_length: DraftLength::Fixed(length),
                ..Default::default()
            };
            let backend = GpuBackend::new(self.gpu.clone(), CacheType::F16);
            let mut session = self.session(&backend, true).await;
            let want = self.reply(&mut session, options(0), true).await.ids;
            for &length in self.lengths {
                // The first device can be lost; its successor is the executors' own.
                self.gpu = open();
                let backend = GpuBackend::new(self.gpu.clone(), CacheType::F16);
                let mut session = self.session(&backend, true).await;
                let prompt = session.encode_text(STORY, false).unwrap();
                let mut generation = session.reply(&prompt, options(length)).unwrap();
                let (mut ids, mut lost) = (Vec::new(), false);
                while let Some(step) = generation.step().await.unwrap() {
                    if let Step::Made { tokens, .. } = step {
                        ids.extend(tokens.iter().map(|token| token.id));
                    }
                    if ids.len() > want.len() / 3 && !lost {
                        self.gpu.destroy();
                        lost = true;
                    }
                }
                assert!(lost);
                assert_eq!(ids, want, "T = {temperature}, {length} a round");
                drop(generation);
                // And the next reply goes on from there.
                let again = session.reply(&prompt, options(length)).unwrap();
                assert!(again.usage().reused_tokens > 0);
            }
        }
    }
}
