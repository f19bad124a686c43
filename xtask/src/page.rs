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

/// `www/lib/wasm`: the engine and its bindings; and for what ships, where the sources of
/// Rust's standard library are here, once more with threads.
///
/// # Errors
/// As [`build`].
pub fn wasm(kind: Kind) -> Result<(), Trouble> {
    tools::wasm_target()?;
    let mut cargo = Command::new("cargo");
    cargo.args(BUILD).current_dir(tools::root());
    step(&mut cargo)?;
    let built = tools::target_dir().join(BUILT);
    bindings(kind, &built, "tandem", &[])?;
    let threads = match kind {
        Kind::Dev => false,
        Kind::Release if tools::standard_library() => true,
        Kind::Release => {
            eprintln!(
                "note: no build with threads, which `rustup component add rust-src` makes possible"
            );
            false
        }
    };
    if threads {
        // The standard library that comes with Rust is built for one thread. It takes an
        // unstable switch of cargo's to build it for several, whichever toolchain this is.
        let folder = tools::target_dir().join("threads");
        let mut cargo = Command::new("cargo");
        cargo
            .args(BUILD)
            .args(["-Z", "build-std=std,panic_abort", "--target-dir"])
            .arg(&folder)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", THREADED_FLAGS.join(" "))
            .current_dir(tools::root());
        step(&mut cargo)?;
        let built = folder.join(BUILT);
        bindings(kind, &built, "tandem_threads", &["--enable-threads"])?;
    }
    let module = match threads {
        true => THREADED_MODULE,
        false => "export const threaded = undefined;\n",
    };
    let out = tools::root().join("www/lib/wasm");
    write_if_new(&out.join("threaded.js"), module)?;
    write_if_new(&out.join("threaded.d.ts"), THREADED_TYPES)
}

/// What cargo is asked for.
const BUILD: &[&str] = &[
    "build",
    "--release",
    "--lib",
    "--package",
    "tandem",
    "--target",
    "wasm32-unknown-unknown",
];
/// Where it puts that, below its target folder.
const BUILT: &str = "wasm32-unknown-unknown/release/tandem.wasm";

/// Memory that several instances share, up to all that 32 bits address, and what
/// wasm-bindgen needs to give each a stack and variables of its own.
const THREADED_FLAGS: &[&str] = &[
    "-Ctarget-feature=+simd128,+atomics,+bulk-memory,+mutable-globals",
    "-Clink-arg=--shared-memory",
    "-Clink-arg=--import-memory",
    "-Clink-arg=--max-memory=4294967296",
    "-Clink-arg=--export=__heap_base",
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];

const THREADED_MODULE: &str = "\
import * as glue from \"./tandem_threads.js\";
export const threaded = {
  glue,
  wasmUrl: () => new URL(\"./tandem_threads_bg.wasm\", import.meta.url),
};
";

/// Undefined where there was nothing to build it with.
const THREADED_TYPES: &str = "\
export declare const threaded: { glue: typeof import(\"./tandem.js\"); wasmUrl(): URL } | undefined;
";

/// Bindings, and the engine that goes with them, made from cargo's output.
fn bindings(kind: Kind, built: &Path, name: &str, optimise_for: &[&str]) -> Result<(), Trouble> {
    let bindgen = tools::wasm_bindgen()?;
    let out = tools::root().join("www/lib/wasm");
    let engine = out.join(format!("{name}_bg.wasm"));
    // Says which cargo output, and how optimised, the bindings were made from.
    let stamp = out.join(format!(".{name}-from"));
    let from = format!("{kind:?} {:?}", modified(built));
    if engine.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == from) {
        return Ok(());
    }
    let mut bindings = Command::new(bindgen);
    bindings
        .args(["--target", "web", "--out-name", name, "--out-dir"])
        .arg(&out)
        .arg(built);
    step(&mut bindings)?;
    if kind == Kind::Release {
        let mut optimise = tools::npm_program("wasm-opt")?;
        optimise
            .args(["-O3", "--enable-simd", "--enable-bulk-memory"])
            .args(["--enable-nontrapping-float-to-int", "--enable-sign-ext"])
            .args(["--enable-mutable-globals", "--enable-reference-types"])
            .arg("--enable-multivalue")
            .args(optimise_for)
            .arg("-o")
            .arg(&engine)
            .arg(&engine);
        step(&mut optimise)?;
    }
    fs::write(&stamp, from).map_err(|error| broken(&stamp.display().to_string(), &error))
}

/// A file that says what it said keeps its age: what is built from it need not be again.
fn write_if_new(path: &Path, text: &str) -> Result<(), Trouble> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(|error| broken(&path.display().to_string(), &error))
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
