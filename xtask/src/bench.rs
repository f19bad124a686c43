//! `cargo xtask bench`: this engine and its peers in one browser run, by `www/bench`.

use std::fs;
use std::process::{Command, ExitCode};

use crate::page::{self, Kind};
use crate::tools::{self, Trouble};
use crate::usage;

/// What is handed on to `www/bench/run.mjs`, which checks the values.
const OPTIONS: &[&str] = &[
    "--models",
    "--engines",
    "--prompt",
    "--tokens",
    "--gpu-tokens",
    "--repeat",
    "--timeout",
];

/// Builds what is measured and measures it.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    for pair in args.chunks(2) {
        match pair {
            [option, _] if OPTIONS.contains(&option.as_str()) => {}
            [option, ..] => {
                return Err(usage(&format!(
                    "`bench` has no `{option}`, or no value for it"
                )));
            }
            [] => {}
        }
    }
    let browser = tools::browser()?.chromium;
    let bench = tools::root().join("www/bench");
    tools::npm_packages_of(&bench)?;
    let package = page::library(Kind::Release)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "tandem",
            "--example",
            "tandem",
        ])
        .current_dir(tools::root());
    page::step(&mut cargo)?;
    let out = tools::target_dir().join("bench");
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut node = Command::new(tools::node()?);
    node.arg(bench.join("run.mjs"))
        .arg("--package")
        .arg(package)
        .arg("--harness")
        .arg(tools::target_dir().join("release/examples/tandem"))
        .arg("--pair")
        .arg(tools::root().join("models"))
        .arg("--out")
        .arg(&out)
        .arg("--browser")
        .arg(browser)
        .args(args);
    let status = node.status();
    let status = status.map_err(|error| Trouble::Broken(format!("node: {error}")))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
