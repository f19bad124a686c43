use super::*;
use crate::decode::testing::NoiseModel;
use pollster::block_on;

fn model() -> (NoiseModel, Sequence) {
    let mut model = NoiseModel::new(1, 2, 1.0);
    let sequence = Sequence::new(&mut model).unwrap();
    (model, sequence)
}

fn total(text: &[u32], from: usize) -> f64 {
    let (mut model, mut sequence) = model();
    let score = block_on(score(&mut model, &mut sequence, text)).unwrap();
    assert_eq!(score.logprobs.len(), text.len() - 1);
    score.logprobs[from - 1..]
        .iter()
        .map(|&p| f64::from(p))
        .sum()
}

#[test]
fn a_texts_logprobs_do_not_depend_on_what_the_cache_held() {
    let text: Vec<u32> = (0..150).map(|i| i * 11 % 24).collect();
    let (mut model, mut sequence) = model();
    let first = block_on(score(&mut model, &mut sequence, &text)).unwrap();
    assert!(first.perplexity() > 1.0);
    assert_eq!(
        first,
        block_on(score(&mut model, &mut sequence, &text)).unwrap()
    );
    assert!(block_on(score(&mut model, &mut sequence, &text[..1])).is_err());
    assert!(block_on(score(&mut model, &mut sequence, &[1, 99])).is_err());
}

#[test]
fn labels_in_one_pass_are_each_label_by_itself() {
    let prompt = [5, 3, 8, 1];
    let labels: [&[u32]; 5] = [&[2], &[2, 7, 9], &[2, 7, 4, 4], &[11, 7], &[6, 6, 6]];
    let candidates: Vec<Vec<u32>> = labels
        .iter()
        .map(|label| prompt.iter().chain(*label).copied().collect())
        .collect();
    let (mut model, mut sequence) = model();
    let got = block_on(rank(&mut model, &mut sequence, &candidates, 4)).unwrap();
    for (candidate, got) in candidates.iter().zip(&got) {
        assert!((got - total(candidate, 4)).abs() < 1e-9, "{candidate:?}");
    }
    assert_eq!(model.passes.get(), 2, "the prompt, and one tree");
    assert_eq!(sequence.tokens(), &prompt[..3]);
    block_on(rank(&mut model, &mut sequence, &candidates, 4)).unwrap();
    assert_eq!(model.passes.get(), 3, "the prompt was known");
}

#[test]
fn many_and_long_labels_take_as_few_passes_as_they_fit() {
    // Labels of three tokens whose first two differ: two rows each, and one for the root.
    let mut candidates: Vec<Vec<u32>> = (0..40).map(|i| vec![0, i % 24, i / 24, 5]).collect();
    candidates.push((0..200).map(|i| i * 5 % 24).collect());
    let (mut model, mut sequence) = model();
    let got = block_on(rank(&mut model, &mut sequence, &candidates, 1)).unwrap();
    for (candidate, got) in candidates.iter().zip(&got) {
        assert!((got - total(candidate, 1)).abs() < 1e-9, "{candidate:?}");
    }
    assert_eq!(model.passes.get(), 2 + 4, "two trees, and a chain of 199");
    assert!(sequence.tokens().is_empty());
}

#[test]
fn labels_that_share_nothing_are_refused() {
    let (mut model, mut sequence) = model();
    let candidates = [vec![1, 2], vec![2, 3]];
    let error = block_on(rank(&mut model, &mut sequence, &candidates, 0)).unwrap_err();
    assert_eq!(
        (error.code(), error.subject()),
        (Code::RequestInvalid, "prompt")
    );
}
