//! Logits whose bits are the same on every target: natively and in the browser alike.

use tandem::backend::cpu::CpuBackend;
use tandem::backend::{Backend, CompileOptions, LogitRows, Rows};
use tandem::format::Checkpoint;
use tandem::model::Model;

/// What [`digest`] is of the logits of some models. Where the CPU's arithmetic is changed
/// on purpose these change with it; a failing test prints the new ones.
pub const DIGESTS: [(&str, u64); 3] = [
    ("gemma2", 0x5784_b133_bae4_a396),
    ("gemma3", 0x1b58_4801_6acb_9c58),
    ("phi3-longrope", 0x1276_e4b3_b58d_06c2),
];

/// FNV-1a over the bits of all logits of a prompt, and of a few tokens one by one.
pub async fn digest(checkpoint: &Checkpoint) -> u64 {
    const N_PROMPT: u32 = 40;
    const N_MORE: u32 = 5;
    let model = Model::open(checkpoint).await.unwrap();
    let capacity_tokens = (N_PROMPT + N_MORE) as usize;
    let plan = model.plan(capacity_tokens).unwrap();
    let options = CompileOptions {
        capacity_tokens,
        ..CompileOptions::default()
    };
    let backend = CpuBackend::default();
    let compiled = backend.compile(&plan, &checkpoint.tensors, &options);
    let mut executor = compiled.await.unwrap();
    let cache = executor.new_cache().unwrap();
    let id = |i: u32| (i * i * 7 + 1) % plan.n_vocab as u32;
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let prompt = Rows::chain((0..N_PROMPT).map(id).collect::<Vec<_>>());
    let more = (N_PROMPT..N_PROMPT + N_MORE).map(|i| Rows::chain([id(i)]));
    for rows in std::iter::once(prompt).chain(more) {
        let pass = executor.forward(cache, &rows, LogitRows::All);
        for logit in pass.await.unwrap() {
            for byte in logit.to_le_bytes() {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    digest
}
