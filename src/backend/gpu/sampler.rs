//! Logits -> tokens: the launches behind a pass's head, and what they bind.
//!
//! `adjust` changes the logits of tokens with a bias or a past, `sample` draws (after
//! `sample_scan`, where the vocabulary is long), `logprobs` tells what was asked about the
//! row, `accept` ends a round. Nothing but those who are asked for runs.

use std::rc::Rc;

use super::super::{Draw, MAX_TOKEN_CHANGES, MAX_TOP_LOGPROBS, RowLogprobs, Terms, TokenChange};
use super::device::Gpu;
use super::executor::word;
use super::launch::{LOGITS_ROWS, THREADS};
use super::params;
use super::pipeline::Kernel;
use super::shader::Variant;
use crate::error::Result;

/// Tokens one workgroup of `sample_scan` looks at, and each of its threads.
const SCAN_CHUNK: usize = 4096;
const SCAN_EACH: usize = 16;
/// Words it leaves of each chunk, beside a score a thread.
const SCAN_STATS: usize = 6;
const SCAN_WIDTH: usize = SCAN_CHUNK / SCAN_EACH;
/// Vocabularies longer than this are scanned before `sample`: below it, another launch
/// costs more than it saves.
const SCANNED_VOCAB: usize = 2 * SCAN_CHUNK;
/// Tokens `sample` can list that matter; where there are more, all do.
const LIST: usize = 8192;
/// Words before the first changed token.
const CHANGES_FIRST: usize = 8;
/// Changed tokens of the request, and of guesses it does not list.
const MAX_CHANGES: usize = MAX_TOKEN_CHANGES + LOGITS_ROWS;

/// For the shaders.
pub const DEFINES: &[(&str, u32)] = &[
    ("SCAN_CHUNK", SCAN_CHUNK as u32),
    ("SCAN_EACH", SCAN_EACH as u32),
    ("SCAN_STATS", SCAN_STATS as u32),
    ("LIST", LIST as u32),
    ("CHANGES_FIRST", CHANGES_FIRST as u32),
    ("MAX_CHANGES", MAX_CHANGES as u32),
];

/// Bytes that are told of the rows of a round, at most.
pub const TOLD_BYTES: u64 = (LOGITS_ROWS * (1 + 2 * MAX_TOP_LOGPROBS) * 4) as u64;

/// What the passes of a round share, whichever model runs: one set a device.
pub struct Shared {
    /// A request's changed tokens.
    changes: wgpu::Buffer,
    /// Their logits as they were.
    saved: wgpu::Buffer,
    /// What is told of the target's rows.
    pub told: wgpu::Buffer,
}

impl Shared {
    /// Made when a device is opened.
    pub fn new(device: &wgpu::Device) -> Self {
        let buffer = |label, words: usize, more| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: (words as u64 * 4).next_multiple_of(16),
                usage: wgpu::BufferUsages::STORAGE | more,
                mapped_at_creation: false,
            })
        };
        let (to, from) = (wgpu::BufferUsages::COPY_DST, wgpu::BufferUsages::COPY_SRC);
        Self {
            changes: buffer("changes", CHANGES_FIRST + 3 * MAX_TOKEN_CHANGES, to),
            saved: buffer("saved", LOGITS_ROWS * MAX_CHANGES, to),
            told: buffer("told", TOLD_BYTES as usize / 4, from),
        }
    }
}

/// How a pass's rows are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    /// Temperature, filters, seed.
    pub draw: &'a Draw,
    /// Where in `drawn` the first row's token goes.
    pub at: usize,
    /// Guesses that earlier passes of the round drew, for a pass that draws another.
    pub n_guessed: usize,
    /// What else the draw depends on.
    pub terms: Terms<'a>,
}

/// A plan's sampling kernels.
pub struct Sampler {
    n_vocab: usize,
    masks: wgpu::Buffer,
    groups: Groups,
    kernels: Kernels,
}

struct Groups {
    adjust: wgpu::BindGroup,
    scan: Option<wgpu::BindGroup>,
    sample: wgpu::BindGroup,
    logprobs: wgpu::BindGroup,
    accept: wgpu::BindGroup,
}

/// Compiled when a request first asks for them, but for those that every draw takes.
struct Kernels {
    scan: Option<Rc<Kernel>>,
    sample: Rc<Kernel>,
    accept: Rc<Kernel>,
    adjust: Option<Rc<Kernel>>,
    restore: Option<Rc<Kernel>>,
    logprobs: Option<Rc<Kernel>>,
}

/// The variant that draws tokens; after a scan, or alone.
pub fn sample(scanned: bool) -> Variant {
    Variant::new("sample", params::Sample::WGSL).flag("SCANNED", scanned)
}

/// The variant that looks at a long vocabulary.
pub fn sample_scan() -> Variant {
    Variant::new("sample_scan", params::Sample::WGSL)
}

/// The variant that changes logits, or changes them back.
pub fn adjust(restore: bool) -> Variant {
    Variant::new("adjust", params::Sample::WGSL).flag("RESTORE", restore)
}

/// The variant that tells log-probabilities.
pub fn logprobs() -> Variant {
    Variant::new("logprobs", params::Sample::WGSL)
}

/// The variant that ends a round.
pub fn accept() -> Variant {
    Variant::new("accept", "")
}

fn mask_words(n_vocab: usize) -> usize {
    n_vocab.div_ceil(32)
}

fn n_chunks(n_vocab: usize) -> usize {
    n_vocab.div_ceil(SCAN_CHUNK)
}

/// Bytes of scratch a sampler takes.
pub fn scratch_bytes(n_vocab: usize) -> u64 {
    let scan = match n_vocab > SCANNED_VOCAB {
        true => n_chunks(n_vocab) * (SCAN_WIDTH + SCAN_STATS) + LIST,
        false => 0,
    };
    ((mask_words(n_vocab) + scan) * LOGITS_ROWS * 4) as u64
}

impl Sampler {
    /// A sampler of `logits` `[LOGITS_ROWS, n_vocab]`; `params` and `state` are the bindings
    /// of those names.
    ///
    /// # Errors
    /// `gpu_failed`, `internal`.
    pub async fn new(
        gpu: &Gpu,
        n_vocab: usize,
        params: wgpu::BufferBinding<'_>,
        state: wgpu::BufferBinding<'_>,
        logits: &wgpu::Buffer,
    ) -> Result<Self> {
        let scanned = n_vocab > SCANNED_VOCAB;
        let masks = gpu.storage("masks", (mask_words(n_vocab) * LOGITS_ROWS * 4) as u64);
        let scan_words = n_chunks(n_vocab) * (SCAN_WIDTH + SCAN_STATS);
        let of_scan = scanned.then(|| {
            [("scan", scan_words), ("list", LIST)]
                .map(|(label, words)| gpu.storage(label, (words * LOGITS_ROWS * 4) as u64))
        });
        let mut bound = vec![
            ("params", params),
            ("state", state),
            ("logits", logits.as_entire_buffer_binding()),
            ("drawn", gpu.drawn.as_entire_buffer_binding()),
            ("masks", masks.as_entire_buffer_binding()),
            ("changes", gpu.shared.changes.as_entire_buffer_binding()),
            ("saved", gpu.shared.saved.as_entire_buffer_binding()),
            ("told", gpu.shared.told.as_entire_buffer_binding()),
        ];
        if let Some([scan, list]) = &of_scan {
            bound.push(("scan", scan.as_entire_buffer_binding()));
            bound.push(("list", list.as_entire_buffer_binding()));
        }
        let group = |variant: Variant| gpu.bind(&*gpu.layout(&variant)?, 0, &bound);
        let groups = Groups {
            adjust: group(adjust(false))?,
            scan: scanned.then(|| group(sample_scan())).transpose()?,
            sample: group(sample(scanned))?,
            logprobs: group(logprobs())?,
            accept: group(accept())?,
        };
        let scan = match scanned {
            true => Some(gpu.kernel(&sample_scan()).await?),
            false => None,
        };
        let kernels = Kernels {
            scan,
            sample: gpu.kernel(&sample(scanned)).await?,
            accept: gpu.kernel(&accept()).await?,
            adjust: None,
            restore: None,
            logprobs: None,
        };
        Ok(Self {
            n_vocab,
            masks,
            groups,
            kernels,
        })
    }

    /// Compiles what these terms take and no draw before took.
    ///
    /// # Errors
    /// `gpu_failed`.
    pub async fn prepare(&mut self, gpu: &Gpu, drawing: &Drawing<'_>) -> Result<()> {
        let kernels = &mut self.kernels;
        let (adjusts, tells) = (
            drawing.terms.change_logits(),
            drawing.terms.logprobs.is_some(),
        );
        for (slot, wanted, variant) in [
            (&mut kernels.adjust, adjusts, adjust(false)),
            (&mut kernels.restore, adjusts && tells, adjust(true)),
            (&mut kernels.logprobs, tells, logprobs()),
        ] {
            if wanted && slot.is_none() {
                *slot = Some(gpu.kernel(&variant).await?);
            }
        }
        Ok(())
    }

    /// Writes what draws read that is not in a pass's state. Once a round: the draft's draws
    /// read the same changes.
    pub fn write_terms(&self, gpu: &Gpu, terms: &Terms<'_>) {
        if terms.change_logits() {
            let words = change_words(terms);
            gpu.queue
                .write_buffer(&gpu.shared.changes, 0, bytemuck::cast_slice(&words));
        }
        let n_words = mask_words(self.n_vocab);
        if !terms.masks.is_empty() {
            let mut words = vec![0; terms.masks.len() * n_words];
            for (row, mask) in words.chunks_exact_mut(n_words).zip(terms.masks) {
                let n = mask.len().min(n_words);
                row[..n].copy_from_slice(&mask[..n]);
            }
            gpu.queue
                .write_buffer(&self.masks, 0, bytemuck::cast_slice(&words));
        }
    }

    /// Launches a draw from the logits of `n_rows` rows; says how many launches it took.
    pub fn launch(
        &self,
        compute: &mut wgpu::ComputePass<'_>,
        state: &[u32],
        n_rows: usize,
        drawing: &Drawing<'_>,
    ) -> u64 {
        let mut n_launches = 0;
        let mut run = |kernel: Option<&Rc<Kernel>>, group: &wgpu::BindGroup, x: usize| {
            let Some(kernel) = kernel else { return };
            compute.set_pipeline(&kernel.pipeline);
            compute.set_bind_group(0, group, state);
            compute.dispatch_workgroups(x as u32, n_rows as u32, 1);
            n_launches += 1;
        };
        let (kernels, groups) = (&self.kernels, &self.groups);
        let n_changed = drawing.terms.changes.len() + LOGITS_ROWS;
        let (adjusts, x_changed) = (drawing.terms.change_logits(), n_changed.div_ceil(THREADS));
        if adjusts {
            run(kernels.adjust.as_ref(), &groups.adjust, x_changed);
        }
        if let Some(group) = &groups.scan {
            run(kernels.scan.as_ref(), group, n_chunks(self.n_vocab));
        }
        run(Some(&kernels.sample), &groups.sample, 1);
        if drawing.terms.logprobs.is_some() {
            if adjusts {
                run(kernels.restore.as_ref(), &groups.adjust, x_changed);
            }
            run(kernels.logprobs.as_ref(), &groups.logprobs, 1);
        }
        n_launches
    }

    /// Launches the end of a round.
    pub fn launch_accept(&self, compute: &mut wgpu::ComputePass<'_>) {
        compute.set_pipeline(&self.kernels.accept.pipeline);
        compute.set_bind_group(0, &self.groups.accept, &[0]);
        compute.dispatch_workgroups(1, 1, 1);
    }

    /// What `logprobs` told of rows, `n_top` tokens each.
    pub fn told(&self, bytes: &[u8], n_top: usize) -> Vec<RowLogprobs> {
        let words: Vec<u32> = bytes.chunks_exact(4).map(word).collect();
        let rows = words.chunks_exact(1 + 2 * n_top);
        let row = |row: &[u32]| RowLogprobs {
            drawn: f32::from_bits(row[0]),
            top: row[1..]
                .chunks_exact(2)
                .map(|pair| (pair[0], f32::from_bits(pair[1])))
                .filter(|(token, _)| (*token as usize) < self.n_vocab)
                .collect(),
        };
        rows.map(row).collect()
    }
}

/// What `adjust.wgsl` reads.
fn change_words(terms: &Terms<'_>) -> Vec<u32> {
    let mut words = vec![0; CHANGES_FIRST];
    words[0] = terms.changes.len() as u32;
    if let Some(penalties) = terms.penalties {
        // The inverse is the CPU's too: a product is the same everywhere, a quotient not.
        words[1] = (1.0 / penalties.repetition).to_bits();
        words[2] = penalties.repetition.to_bits();
        words[3] = penalties.frequency.to_bits();
        words[4] = penalties.presence.to_bits();
        words[5] = 1;
    }
    for change in terms.changes {
        let TokenChange {
            token,
            bias,
            is_said,
            n_in_reply,
        } = *change;
        // Far beyond any logit, and a number.
        let bias = bias.clamp(-2e30, 1e30);
        let said = u32::from(is_said) << 31;
        words.extend([token, bias.to_bits(), said | n_in_reply]);
    }
    words
}
