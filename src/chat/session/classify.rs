//! Which of several labels fits a text best.
//!
//! A label's likelihood after the text says as much about how common the label is as
//! about how well it fits. So it is held against the same label's likelihood after an
//! empty text: the difference of the two logarithms is the pointwise mutual information
//! of text and label (Holtzman et al., "Surface Form Competition", arXiv 2104.08315;
//! calibration by a content-free input is Zhao et al., arXiv 2102.09690).

use super::Session;
use crate::chat::template::{RenderRequest, Span as Rendered};
use crate::decode::Lane;
use crate::decode::score::{common_prefix, rank};
use crate::error::{Code, Error, Result};
use crate::tokenizer::EncodeOptions;

/// The most labels that are told apart at once.
pub const MAX_LABELS: usize = 1024;

/// What to classify.
#[derive(Debug, Clone, Copy)]
pub enum ClassifyRequest<'a> {
    /// Text that a label goes on from.
    Text {
        /// What comes before the label, the text in question included.
        prompt: &'a str,
        /// The same around an empty text, to calibrate by; `None` for no calibration.
        empty: Option<&'a str>,
    },
    /// A conversation to which a label is the answer.
    Messages {
        /// The conversation, the text in question included.
        request: &'a RenderRequest<'a>,
        /// The same around an empty text, to calibrate by; `None` for no calibration.
        empty: Option<&'a RenderRequest<'a>>,
    },
}

/// How well a label fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// Which of the labels, in the order they were given.
    pub index: usize,
    /// `ln p` of the label after the prompt, summed over its tokens.
    pub logprob: f64,
    /// The same after the empty prompt; 0 without calibration.
    pub empty_logprob: f64,
    /// `softmax` of the labels' calibrated scores, `logprob - empty_logprob`.
    pub probability: f64,
}

impl Session {
    /// Ranks `labels`, the best first (ties in the order given): what they share is read
    /// once, and the rest of all of them in one pass, or as few as they fit.
    ///
    /// A label is scored as a text that may go on: one that begins another is never the
    /// less likely of the two.
    ///
    /// # Errors
    /// `request_invalid` for labels that are none, empty, or too many; what template,
    /// tokenizer and executor report.
    pub async fn classify(
        &mut self,
        request: ClassifyRequest<'_>,
        labels: &[String],
    ) -> Result<Vec<Classified>> {
        if labels.is_empty() || labels.len() > MAX_LABELS {
            let detail = format!("must be 1 to {MAX_LABELS}, are {}", labels.len());
            return Err(Error::new(Code::RequestInvalid, "labels", detail));
        }
        if let Some(empty) = labels.iter().position(String::is_empty) {
            let detail = "is empty: nothing is as likely as nothing";
            return Err(Error::new(
                Code::RequestInvalid,
                format!("labels[{empty}]"),
                detail,
            ));
        }
        // The empty prompt first, so that the cache is left with the other.
        let empty = match request {
            ClassifyRequest::Text { empty, .. } => {
                empty.map(|empty| self.labelled_text(empty, labels))
            }
            ClassifyRequest::Messages { empty, .. } => {
                empty.map(|empty| self.labelled_messages(empty, labels))
            }
        };
        let empty_logprobs = match empty.transpose()? {
            Some(candidates) => self.rank(&candidates).await?,
            None => vec![0.0; labels.len()],
        };
        let candidates = match request {
            ClassifyRequest::Text { prompt, .. } => self.labelled_text(prompt, labels)?,
            ClassifyRequest::Messages { request, .. } => self.labelled_messages(request, labels)?,
        };
        let logprobs = self.rank(&candidates).await?;
        Ok(best_first(&logprobs, &empty_logprobs))
    }

    /// The ids of the prompt alone, and of the prompt with each label behind it: tokens
    /// may reach across where the two meet.
    fn labelled_text(&self, prompt: &str, labels: &[String]) -> Result<Vec<Vec<u32>>> {
        let tokenizer = &self.target.tokenizer;
        let options = EncodeOptions {
            add_special: true,
            parse_special: false,
        };
        let labelled = labels.iter().map(|label| format!("{prompt}{label}"));
        std::iter::once(prompt.to_string())
            .chain(labelled)
            .map(|text| tokenizer.encode(&text, options))
            .collect()
    }

    fn labelled_messages(
        &self,
        request: &RenderRequest<'_>,
        labels: &[String],
    ) -> Result<Vec<Vec<u32>>> {
        let mut spans = self.target.template.render_spans(request)?;
        let mut all = vec![self.encode_rendered(&spans)?];
        for label in labels {
            spans.push(Rendered {
                text: label.clone(),
                trusted: false,
            });
            all.push(self.encode_rendered(&spans)?);
            spans.pop();
        }
        Ok(all)
    }

    /// `ln p` of each text but the first, past what all of them share.
    async fn rank(&mut self, texts: &[Vec<u32>]) -> Result<Vec<f64>> {
        let n_shared = common_prefix(texts);
        let Lane { executor, sequence } = self.target.lane();
        rank(executor, sequence, &texts[1..], n_shared).await
    }
}

fn best_first(logprobs: &[f64], empty_logprobs: &[f64]) -> Vec<Classified> {
    let scores = || {
        logprobs
            .iter()
            .zip(empty_logprobs)
            .map(|(p, empty)| p - empty)
    };
    let max = scores().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores().map(|score| (score - max).exp()).sum();
    let mut labels: Vec<Classified> = scores()
        .enumerate()
        .map(|(index, score)| Classified {
            index,
            logprob: logprobs[index],
            empty_logprob: empty_logprobs[index],
            probability: (score - max).exp() / total,
        })
        .collect();
    labels.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_held_against_how_common_they_are() {
        // The second is the likelier word, the first is what the text made likelier.
        let ranked = best_first(&[-3.0, -1.0, -9.0], &[-6.0, -1.5, -8.0]);
        let order: Vec<usize> = ranked.iter().map(|label| label.index).collect();
        assert_eq!(order, [0, 1, 2]);
        let total: f64 = ranked.iter().map(|label| label.probability).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let (a, b) = (ranked[0].probability, ranked[1].probability);
        assert!((a / b - 2.5_f64.exp()).abs() < 1e-9);
        // Without calibration the likelier word wins.
        assert_eq!(best_first(&[-3.0, -1.0], &[0.0, 0.0])[0].index, 1);
    }
}
