//! An op has one name everywhere: the enum variant, `Op::name`, the WGSL file, the CPU
//! function and the kernel test.

use std::collections::BTreeMap;
use std::fs;

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
