//! What one sequence's history comes to does not depend on how it was run: in one
//! pass or many, beside other rows or alone, in a tree or a chain, before or after
//! something else was tried and rolled back. To the bit, for every architecture.

#![cfg(not(target_arch = "wasm32"))]

#[path = "common/model.rs"]
mod model;

use std::path::{Path, PathBuf};

use model::{bits, checkpoint, executor, forward};
use tandem::Code;
use tandem::backend::{CacheId, Executor, LogitRows, Rows};
use tandem::format::Quantize;

const CAPACITY: usize = 24;
const IDS: [u32; 20] = [
    1, 17, 63, 5, 40, 88, 2, 31, 77, 9, 54, 23, 95, 12, 68, 36, 3, 81, 49, 20,
];

fn each(test: impl Fn(&str, &mut dyn Executor)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/architectures");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let mut plain = checkpoint(&folder.join("model.safetensors")).unwrap();
        let mut at_hand = executor(&plain, CAPACITY).unwrap();
        test(&name, at_hand.as_mut());
        plain.tensors = std::mem::take(&mut plain.tensors).quantized(Quantize::Q4_0);
        let mut at_hand = executor(&plain, CAPACITY).unwrap();
        test(&format!("{name}, quantised"), at_hand.as_mut());
    }
}

fn run(executor: &mut dyn Executor, cache: CacheId, ids: &[u32]) -> Vec<u32> {
    bits(&forward(executor, cache, &Rows::chain(ids)).unwrap())
}

/// The logits of every position, one token a pass: what all else is held to.
fn one_by_one(executor: &mut dyn Executor, ids: &[u32]) -> Vec<u32> {
    let cache = executor.new_cache().unwrap();
    let logits = ids
        .iter()
        .flat_map(|id| run(executor, cache, &[*id]))
        .collect();
    executor.drop_cache(cache);
    logits
}

#[test]
fn a_prompt_in_one_pass_is_token_by_token() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        for chunk in 1..=17 {
            let cache = executor.new_cache().unwrap();
            let chunks = IDS.chunks(chunk);
            let found: Vec<u32> = chunks.flat_map(|ids| run(executor, cache, ids)).collect();
            assert!(found == expected, "{name}, {chunk} rows at a time");
            executor.drop_cache(cache);
        }
    });
}

#[test]
fn what_was_rolled_back_was_never_there() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..8]);
        run(executor, cache, &[90, 91, 92, 93, 94]);
        executor.truncate(cache, 8);
        assert_eq!(executor.cache_len(cache), 8);
        let found = run(executor, cache, &IDS[8..]);
        assert!(found == expected[8 * n_vocab..], "{name}");
    });
}

#[test]
fn a_fork_and_its_original_do_not_meet() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..8]);
        let fork = executor.fork(cache).unwrap();
        run(executor, fork, &[90, 91, 92]);
        let found = run(executor, cache, &IDS[8..]);
        assert!(found == expected[8 * n_vocab..], "{name}, original");
        executor.drop_cache(cache);
        executor.truncate(fork, 8);
        let found = run(executor, fork, &IDS[8..]);
        assert!(found == expected[8 * n_vocab..], "{name}, fork");
    });
}

/// After eight cached tokens, the next four as one line of a tree with other branches
/// between them; then the line is kept and the rest of the sequence follows.
#[test]
fn a_line_of_a_tree_is_a_chain() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..8]);
        let rows = Rows {
            tokens: vec![IDS[8], 90, IDS[9], 91, IDS[10], 92, 93, IDS[11]],
            parents: vec![
                None,
                None,
                Some(0),
                Some(1),
                Some(2),
                Some(2),
                Some(3),
                Some(4),
            ],
        };
        let found = bits(&forward(executor, cache, &rows).unwrap());
        let path = [0, 2, 4, 7];
        for (i, &row) in path.iter().enumerate() {
            let row = row as usize;
            assert!(
                found[row * n_vocab..][..n_vocab] == expected[(8 + i) * n_vocab..][..n_vocab],
                "{name}, row {row}"
            );
        }
        // The other branch, against itself run as a chain.
        let other = executor.new_cache().unwrap();
        run(executor, other, &IDS[..8]);
        let branch = run(executor, other, &[90, 91, 93]);
        for (i, row) in [1, 3, 6].into_iter().enumerate() {
            assert!(
                found[row * n_vocab..][..n_vocab] == branch[i * n_vocab..][..n_vocab],
                "{name}, row {row} of the other branch"
            );
        }
        executor.keep(cache, 8, &path).unwrap();
        assert_eq!(executor.cache_len(cache), 12);
        let found = run(executor, cache, &IDS[12..]);
        assert!(
            found == expected[12 * n_vocab..],
            "{name}, after keeping the line"
        );
    });
}

/// The same tree, a few nodes at a time, as a draft grows one: each row's logits are
/// those of the tree in one pass, and the line that is kept is a chain.
#[test]
fn a_tree_grown_level_by_level_is_each_of_its_lines_as_a_chain() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..8]);
        let tokens = [IDS[8], 90, IDS[9], 91, IDS[10], 92, 93, IDS[11]];
        let parents = [
            None,
            None,
            Some(0),
            Some(1),
            Some(2),
            Some(2),
            Some(3),
            Some(4),
        ];
        let mut found = Vec::new();
        for (from, to) in [(0, 2), (2, 4), (4, 5), (5, 8)] {
            let rows = Rows {
                tokens: tokens[from..to].to_vec(),
                parents: parents[..to].to_vec(),
            };
            found.extend(bits(&forward(executor, cache, &rows).unwrap()));
        }
        let whole = executor.new_cache().unwrap();
        run(executor, whole, &IDS[..8]);
        let rows = Rows {
            tokens: tokens.to_vec(),
            parents: parents.to_vec(),
        };
        assert!(
            bits(&forward(executor, whole, &rows).unwrap()) == found,
            "{name}, in one pass"
        );
        for (i, row) in [0, 2, 4, 7].into_iter().enumerate() {
            assert!(
                found[row * n_vocab..][..n_vocab] == expected[(8 + i) * n_vocab..][..n_vocab],
                "{name}, row {row}"
            );
        }
        executor.keep(cache, 8, &[0, 2, 4, 7]).unwrap();
        let found = run(executor, cache, &IDS[12..]);
        assert!(found == expected[12 * n_vocab..], "{name}, after it");
    });
}

#[test]
fn a_tree_that_is_none_is_refused() {
    each(|name, executor| {
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..2]);
        let rows = |tokens: &[u32], parents: &[Option<u32>]| Rows {
            tokens: tokens.to_vec(),
            parents: parents.to_vec(),
        };
        for rows in [
            rows(&[1, 2], &[None]),
            rows(&[1, 2], &[None, Some(1)]),
            // Three nodes that are to be in a cache of two.
            rows(&[1], &[None, None, None, None]),
            rows(&[1; 65], &[None; 65]),
        ] {
            let error = forward(executor, cache, &rows).unwrap_err();
            assert_eq!(error.code(), Code::RequestInvalid, "{name}, {rows:?}");
        }
        assert_eq!(executor.cache_len(cache), 2);
    });
}

#[test]
fn the_last_row_alone_is_the_last_of_all() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        let rows = Rows::chain(IDS);
        let found = pollster::block_on(executor.forward(cache, &rows, LogitRows::Last)).unwrap();
        assert!(
            bits(&found) == expected[expected.len() - n_vocab..],
            "{name}"
        );
        let none = Rows::chain([4, 5]);
        let found = pollster::block_on(executor.forward(cache, &none, LogitRows::None)).unwrap();
        assert!(found.is_empty(), "{name}");
        assert_eq!(executor.cache_len(cache), IDS.len() + 2);
    });
}

#[test]
fn a_full_cache_and_an_unknown_token_leave_everything_as_it_was() {
    each(|name, executor| {
        let expected = one_by_one(executor, &IDS);
        let n_vocab = expected.len() / IDS.len();
        let cache = executor.new_cache().unwrap();
        run(executor, cache, &IDS[..19]);
        let error = forward(executor, cache, &Rows::chain([7; 6])).unwrap_err();
        assert_eq!(error.code(), Code::ContextOverflow, "{name}");
        let error = forward(executor, cache, &Rows::chain([7, 96])).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::TokenUnknown, "96"),
            "{name}"
        );
        assert_eq!(executor.cache_len(cache), 19);
        let found = run(executor, cache, &IDS[19..]);
        assert!(found == expected[19 * n_vocab..], "{name}");
    });
}
