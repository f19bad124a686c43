//! An op has one name everywhere: the enum variant, `Op::name`, the WGSL file, the CPU
//! function and the kernel test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::root;

/// The ops of `backend/plan.rs`: variant -> name, as `Op::name` spells them.
fn ops() -> BTreeMap<String, String> {
    let plan = fs::read_to_string(root().join("src/backend/plan.rs")).unwrap();
    let (_, body) = plan
        .split_once("fn name(&self)")
        .expect("Op::name is there");
    let mut ops = BTreeMap::new();
    for line in body.lines().take_while(|line| *line != "}") {
        if let Some((variant, name)) = line.trim().split_once(" { .. } => \"") {
            let variant = variant.trim_start_matches("Op::").to_string();
            ops.insert(variant, name.trim_end_matches("\",").to_string());
        }
    }
    assert!(ops.len() >= 8, "Op::name is written otherwise now: {ops:?}");
    ops
}

fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn an_op_is_named_after_its_variant() {
    for (variant, name) in ops() {
        assert_eq!(snake(&variant), name);
    }
}

/// Kernels that no op of a plan asks for, and the word that their test has.
const NO_OPS: &[(&str, &str)] = &[
    ("accept", "accept"),
    ("adjust", "adjust"),
    ("kv_move", "keep"),
    ("logprobs", "logprobs"),
    ("sample", "sample"),
    ("sample_scan", "sample"),
];

#[test]
fn every_op_has_a_shader_a_cpu_function_and_a_kernel_test_of_its_name() {
    let shaders = shaders();
    let cpu = texts("src/backend/cpu");
    let tests = kernel_tests();
    for name in ops().values() {
        assert!(shaders.contains(name), "no shaders/{name}.wgsl");
        let function = format!("fn {name}(");
        let there = cpu.iter().any(|text| text.contains(&function));
        assert!(there, "no `{function}` in src/backend/cpu");
        assert!(has(&tests, name), "no test in tests/kernels names {name}");
    }
}

#[test]
fn every_shader_is_an_ops_or_says_whose_it_is() {
    let ops: BTreeSet<String> = ops().into_values().collect();
    let tests = kernel_tests();
    let table = fs::read_to_string(root().join("src/backend/gpu/shader.rs")).unwrap();
    for shader in shaders() {
        // A second kernel of an op carries the op's name: attention_merge.
        let of_op = ops
            .iter()
            .find(|op| shader == **op || shader.starts_with(&format!("{op}_")));
        let word = match NO_OPS.iter().find(|(name, _)| *name == shader) {
            Some((_, word)) => word,
            None => of_op.map_or("", |op| op.as_str()),
        };
        assert!(!word.is_empty(), "shaders/{shader}.wgsl is no op's");
        assert!(has(&tests, word), "no test in tests/kernels names {word}");
        assert!(
            table.contains(&format!("shaders/{shader}.wgsl")),
            "{shader} is not in the table of src/backend/gpu/shader.rs"
        );
    }
}

/// The kernels, by file name.
fn shaders() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("shaders")).unwrap().flatten();
    files
        .filter_map(|file| {
            Some(
                file.file_name()
                    .to_str()?
                    .strip_suffix(".wgsl")?
                    .to_string(),
            )
        })
        .collect()
}

/// The names of the tests in `tests/kernels`.
fn kernel_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in texts("tests/kernels") {
        for (at, _) in text.match_indices("#[test]") {
            let name = text[at..]
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split_once('('));
            names.extend(name.map(|(name, _)| name.to_string()));
        }
    }
    assert!(!names.is_empty(), "tests/kernels has no tests");
    names
}

/// Whether one of `tests` has `name` in its own, as whole words.
fn has(tests: &BTreeSet<String>, name: &str) -> bool {
    let words = format!("_{name}_");
    tests
        .iter()
        .any(|test| format!("_{test}_").contains(&words))
}

/// Every Rust file of a folder.
fn texts(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    super::rust_files(&root().join(Path::new(folder)), &mut files);
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}
