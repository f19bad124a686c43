//! Builds what is served: the engine as wasm, then the page around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::tools::{self, Trouble};

/// How much trouble a build takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What ships: optimised by wasm-opt too.
    Release,
    /// What is there soonest after a change.
    Dev,
}

/// The folder that is served.
pub fn site() -> PathBuf {
    tools::root().join("www/dist")
}

/// Builds the engine and the page; what has not changed is left alone.
///
/// # Errors
/// A tool that is missing, or a step that failed (its own output says why).
pub fn build(kind: Kind) -> Result<(), Trouble> {
    tools::npm_packages()?;
    wasm(kind)?;
    let www = tools::root().join("www");
    let index = site().join("index.html");
    let sources = newest(&www, &["node_modules", "dist", "test-results"]);
    if modified(&index).is_some_and(|built| sources.is_some_and(|changed| changed < built)) {
        return Ok(());
    }
    let mut vite = tools::npm_program("vite")?;
    vite.args(["build", "--logLevel", "warn"]);
    if kind == Kind::Dev {
        vite.args(["--mode", "development"]);
    }
    step(&mut vite)
}

/// Builds the library's own test page into `testing/` of what is served. The next build of
/// the page takes it away again.
///
/// # Errors
/// As [`build`], after which it is to be called.
pub fn build_testing() -> Result<(), Trouble> {
    let mut vite = tools::npm_program("vite")?;
    step(vite.args([
        "build",
        "--logLevel",
        "warn",
        "--config",
        "vite.testing.config.ts",
    ]))
}

/// The package as a module of its own, `index.js`, as an application would bundle it:
/// what `bench` measures. The folder it is in.
///
/// # Errors
/// As [`build`].
pub fn library(kind: Kind) -> Result<PathBuf, Trouble> {
    tools::npm_packages()?;
    wasm(kind)?;
    let out = tools::target_dir().join("bench/package");
    let mut vite = tools::npm_program("vite")?;
    vite.args([
        "build",
        "--logLevel",
        "warn",
        "--config",
        "bench/vite.config.ts",
        "--outDir",
    ])
    .arg(&out);
    step(&mut vite)?;
    Ok(out)
}

/// `www/lib/wasm`: the engine and its bindings.
///
/// # Errors
/// As [`build`].
pub fn wasm(kind: Kind) -> Result<(), Trouble> {
    tools::wasm_target()?;
    let bindgen = tools::wasm_bindgen()?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--lib", "--package", "tandem"])
        .args(["--target", "wasm32-unknown-unknown"])
        .current_dir(tools::root());
    step(&mut cargo)?;
    let built = tools::target_dir().join("wasm32-unknown-unknown/release/tandem.wasm");
    let out = tools::root().join("www/lib/wasm");
    let engine = out.join("tandem_bg.wasm");
    // Says which cargo output, and how optimised, the bindings were made from.
    let stamp = out.join(".from");
    let from = format!("{kind:?} {:?}", modified(&built));
    if engine.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == from) {
        return Ok(());
    }
    let mut bindings = Command::new(bindgen);
    bindings
        .args(["--target", "web", "--out-name", "tandem", "--out-dir"])
        .arg(&out)
        .arg(&built);
    step(&mut bindings)?;
    if kind == Kind::Release {
        let mut optimise = tools::npm_program("wasm-opt")?;
        optimise
            .args(["-O3", "--enable-simd", "--enable-bulk-memory"])
            .args(["--enable-nontrapping-float-to-int", "--enable-sign-ext"])
            .args(["--enable-mutable-globals", "--enable-reference-types"])
            .args(["--enable-multivalue", "-o"])
            .arg(&engine)
            .arg(&engine);
        step(&mut optimise)?;
    }
    fs::write(&stamp, from).map_err(|error| broken(&stamp.display().to_string(), &error))
}

/// Runs one step of a build; its errors are shown as they come.
///
/// # Errors
/// Where it fails, or does not start.
pub fn step(command: &mut Command) -> Result<(), Trouble> {
    let name = Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(broken(&name, &status)),
        Err(error) => Err(broken(&name, &error)),
    }
}

fn broken(name: &str, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::Broken(format!("{name} failed: {why}"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// When anything under `folder` changed last, the named folders left out.
pub fn newest(folder: &Path, except: &[&str]) -> Option<SystemTime> {
    let mut latest = None;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name();
        if except.iter().any(|skip| name == *skip) {
            continue;
        }
        let path = entry.path();
        latest = latest.max(if path.is_dir() {
            newest(&path, except)
        } else {
            modified(&path)
        });
    }
    latest
}
