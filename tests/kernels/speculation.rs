//! Rounds on the device with real pairs, through everything above.

use std::path::Path;

use tandem::format::Checkpoint;

use super::bench::gpu;
use super::common::shared;
use super::speculation_cases::Comparison;

fn open(path: &Path) -> Checkpoint {
    pollster::block_on(Checkpoint::open_path(path)).unwrap()
}

/// The pair that ships: target and draft.
fn pair() -> [Checkpoint; 2] {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    ["tandem-target-q8_0.gguf", "tandem-draft-q8_0.gguf"].map(|file| open(&models.join(file)))
}

#[test]
fn speculation_on_the_device_never_changes_the_text_of_the_pair_that_ships() {
    let Some(gpu) = gpu() else { return };
    let [target, draft] = pair();
    let accepted = pollster::block_on(
        Comparison {
            gpu,
            target: &target,
            draft: &draft,
            temperatures: &[0.0, 0.7, 1.0],
            lengths: &[1, 2, 4, 8],
            max_tokens: 32,
        }
        .assert_same_words(),
    );
    assert!(accepted > 60, "{accepted} drafts accepted");
}

#[test]
fn speculation_on_the_device_never_changes_the_text_of_a_model_that_drafts_for_itself() {
    let Some(folder) = shared("data/weights/tinystories-656k-bf16") else {
        return;
    };
    let Some(gpu) = gpu() else { return };
    let model = open(&folder);
    let max_tokens = 32;
    let accepted = pollster::block_on(
        Comparison {
            gpu,
            target: &model,
            draft: &model,
            temperatures: &[0.0, 0.7, 1.0],
            lengths: &[1, 2, 4, 8],
            max_tokens,
        }
        .assert_same_words(),
    );
    // Of `k + 1` tokens a round all but one, twelve replies long; the last round may be cut.
    assert!(
        accepted > 3 * 4 * max_tokens / 2,
        "{accepted} drafts accepted"
    );
}

#[test]
fn trees_and_penalties_on_the_gpu_never_change_the_text() {
    let Some(gpu) = gpu() else { return };
    let [target, draft] = pair();
    let [chains, trees] = pollster::block_on(
        Comparison {
            gpu,
            target: &target,
            draft: &draft,
            temperatures: &[],
            lengths: &[2, 7],
            max_tokens: 20,
        }
        .assert_same_words_whatever_the_request(),
    );
    assert!(chains > 40 && trees > 40, "{chains} and {trees} accepted");
}

#[test]
fn constraints_are_kept_on_the_device_and_never_change_the_text() {
    let Some(gpu) = gpu() else { return };
    let [target, draft] = pair();
    let accepted = pollster::block_on(
        Comparison {
            gpu,
            target: &target,
            draft: &draft,
            temperatures: &[],
            lengths: &[1, 4],
            max_tokens: 40,
        }
        .assert_same_words_under_a_constraint(),
    );
    assert!(accepted > 10, "{accepted} accepted");
}

#[test]
fn a_device_lost_in_the_middle_of_a_reply_changes_nothing_about_it() {
    let Some(first) = gpu() else { return };
    let [target, draft] = pair();
    let comparison = Comparison {
        gpu: first,
        target: &target,
        draft: &draft,
        temperatures: &[0.7],
        lengths: &[0, 3],
        max_tokens: 32,
    };
    let reopened = || gpu().expect("there was one before");
    pollster::block_on(comparison.assert_survives_a_lost_device(reopened));
}
