//! How likely a text is, and which of several texts is the likeliest.

use super::sampling::logprobs;
use super::sequence::{PREFILL_CHUNK_TOKENS, Sequence};
use crate::backend::{Executor, LogitRows, MAX_TREE_ROWS, Rows};
use crate::error::{Code, Error, Result};

/// How likely each token of a text is.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The text.
    pub token_ids: Vec<u32>,
    /// `ln p` of every token but the first, given all before it.
    pub logprobs: Vec<f32>,
}

impl Score {
    /// `ln p` of the text, given its first token.
    pub fn total(&self) -> f64 {
        self.logprobs
            .iter()
            .map(|&logprob| f64::from(logprob))
            .sum()
    }

    /// `exp` of the mean surprise of a token.
    pub fn perplexity(&self) -> f64 {
        (-self.total() / self.logprobs.len().max(1) as f64).exp()
    }
}

/// Scores `token_ids`, two or more. The sequence holds all but the last afterwards.
///
/// # Errors
/// `request_invalid` where there is nothing to score; `context_overflow`; what the
/// executor reports.
pub async fn score(
    executor: &mut dyn Executor,
    sequence: &mut Sequence,
    token_ids: &[u32],
) -> Result<Score> {
    if token_ids.len() < 2 {
        let detail = format!("{} tokens: there is nothing to score", token_ids.len());
        return Err(Error::new(Code::RequestInvalid, "text", detail));
    }
    // Every row's logits are wanted, also those of tokens that the cache holds.
    sequence.truncate(executor, 0);
    let logprobs = continuation(executor, sequence, &token_ids[..1], &token_ids[1..]).await?;
    Ok(Score {
        token_ids: token_ids.to_vec(),
        logprobs,
    })
}

/// `ln p` of each of `candidates` past `n_shared` tokens that all of them begin with,
/// one or more. What they share is read once; the rest of all of them is one tree, in
/// as few passes as it fits. The sequence keeps what it held of the shared part.
///
/// # Errors
/// `request_invalid` where they share nothing; `context_overflow`; what the executor
/// reports.
pub async fn rank(
    executor: &mut dyn Executor,
    sequence: &mut Sequence,
    candidates: &[Vec<u32>],
    n_shared: usize,
) -> Result<Vec<f64>> {
    let Some(first) = candidates.first() else {
        return Ok(Vec::new());
    };
    let n_common = common_prefix(candidates);
    if n_shared == 0 || n_shared > n_common {
        let detail = "holds no token that stands before all of the labels";
        return Err(Error::new(Code::RequestInvalid, "prompt", detail));
    }
    let (read, root) = (&first[..n_shared - 1], first[n_shared - 1]);
    sequence.keep_common_prefix(executor, read)?;
    let held = sequence.tokens().len();
    for chunk in read[held..].chunks(PREFILL_CHUNK_TOKENS) {
        sequence.feed(executor, chunk, LogitRows::None).await?;
    }
    let mut totals = Vec::with_capacity(candidates.len());
    let mut batch = Trie::new(root);
    for candidate in candidates {
        let path = &candidate[n_shared..];
        if batch.rows_with(path) > MAX_TREE_ROWS {
            batch.run(executor, sequence, &mut totals).await?;
            batch = Trie::new(root);
        }
        if batch.rows_with(path) > MAX_TREE_ROWS {
            // Longer than a tree may be: a chain by itself.
            let held = sequence.tokens().len();
            let each = continuation(executor, sequence, &[root], path).await?;
            sequence.truncate(executor, held);
            totals.push(each.iter().map(|&logprob| f64::from(logprob)).sum());
        } else {
            batch.add(path);
        }
    }
    batch.run(executor, sequence, &mut totals).await?;
    Ok(totals)
}

/// How many tokens all of `texts` begin with.
pub fn common_prefix(texts: &[Vec<u32>]) -> usize {
    let Some((first, others)) = texts.split_first() else {
        return 0;
    };
    let common = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    others.iter().map(common).min().unwrap_or(first.len())
}

/// `ln p` of each token of `path` after what the sequence holds and `root`.
async fn continuation(
    executor: &mut dyn Executor,
    sequence: &mut Sequence,
    root: &[u32],
    path: &[u32],
) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(path.len());
    let Some((_, fed)) = path.split_last() else {
        return Ok(scores);
    };
    let fed: Vec<u32> = root.iter().chain(fed).copied().collect();
    for chunk in fed.chunks(PREFILL_CHUNK_TOKENS) {
        let logits = sequence.feed(executor, chunk, LogitRows::All).await?;
        for row in logits.chunks_exact(logits.len() / chunk.len()) {
            scores.push(token_logprob(row, path[scores.len()])?);
        }
    }
    Ok(scores)
}

/// As [`logprobs`], of a token from outside.
fn token_logprob(logits: &[f32], token: u32) -> Result<f32> {
    if token as usize >= logits.len() {
        let detail = format!("outside a vocabulary of {}", logits.len());
        return Err(Error::new(Code::TokenUnknown, token.to_string(), detail));
    }
    Ok(logprobs(logits, token, 0).0)
}

/// Several texts that begin alike, as the rows of one pass: a row for every token that
/// another follows.
struct Trie {
    rows: Rows,
    /// Of each text: the row before each token, and the token.
    texts: Vec<Vec<(usize, u32)>>,
}

impl Trie {
    fn new(root: u32) -> Self {
        Self {
            rows: Rows {
                tokens: vec![root],
                parents: vec![None],
            },
            texts: Vec::new(),
        }
    }

    fn child(&self, parent: usize, token: u32) -> Option<usize> {
        (parent + 1..self.rows.len()).find(|&row| {
            self.rows.tokens[row] == token && self.rows.parents[row] == Some(parent as u32)
        })
    }

    /// Rows in all once `text` is added.
    fn rows_with(&self, text: &[u32]) -> usize {
        let inner = &text[..text.len().saturating_sub(1)];
        let (mut at, mut known) = (0, 0);
        for &token in inner {
            let Some(child) = self.child(at, token) else {
                break;
            };
            (at, known) = (child, known + 1);
        }
        self.rows.len() + inner.len() - known
    }

    fn add(&mut self, text: &[u32]) {
        let (mut at, mut steps) = (0, Vec::with_capacity(text.len()));
        for (i, &token) in text.iter().enumerate() {
            steps.push((at, token));
            if i + 1 < text.len() {
                at = self.child(at, token).unwrap_or_else(|| {
                    self.rows.tokens.push(token);
                    self.rows.parents.push(Some(at as u32));
                    self.rows.len() - 1
                });
            }
        }
        self.texts.push(steps);
    }

    /// Appends each text's `ln p`; the sequence is then as it was.
    async fn run(
        &self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        totals: &mut Vec<f64>,
    ) -> Result<()> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let held = sequence.tokens().len();
        let nodes = self.rows.tokens.iter().zip(&self.rows.parents);
        let nodes: Vec<_> = nodes.map(|(token, parent)| (*token, *parent)).collect();
        let logits = sequence.grow(executor, &nodes, LogitRows::All).await?;
        sequence.truncate(executor, held);
        let n_vocab = logits.len() / self.rows.len();
        for text in &self.texts {
            let mut total = 0.0;
            for &(row, token) in text {
                total += f64::from(token_logprob(&logits[row * n_vocab..][..n_vocab], token)?);
            }
            totals.push(total);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
