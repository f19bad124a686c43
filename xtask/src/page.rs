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

/// `www/lib/wasm`: the engine and its bindings; and for what ships, where `TANDEM_THREADS`
/// asks for it and the sources of Rust's standard library are to be had, once more with
/// threads: that takes everything twice as long.
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
    let threaded = match kind {
        Kind::Release if std::env::var("TANDEM_THREADS").is_ok_and(|on| on == "1") => {
            threaded(kind).map(Some)
        }
        _ => Ok(None),
    };
    // Everything works without threads, so that what stands in their way is only told.
    let module = threaded.unwrap_or_else(|trouble| {
        eprintln!("note: no build with threads: {}", String::from(trouble));
        None
    });
    let module = module.unwrap_or_else(|| "export const threaded = undefined;\n".to_string());
    let lib = tools::root().join("www/lib");
    write_if_new(&lib.join("threaded.js"), &module)?;
    write_if_new(&lib.join("threaded.d.ts"), THREADED_TYPES)
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

/// The engine on threads, for the processor alone: where a GPU computes, the processor's
/// threads have nothing to do. The module that says where it is.
fn threaded(kind: Kind) -> Result<String, Trouble> {
    const NAME: &str = "tandem_threads";
    tools::standard_library()?;
    // The standard library that comes with Rust is built for one thread. It takes an unstable
    // switch of cargo's to build it for several, whichever toolchain this is.
    let folder = tools::target_dir().join("threads");
    let mut cargo = Command::new("cargo");
    cargo
        .args(BUILD)
        .args(["--no-default-features", "-Z", "build-std=std,panic_abort"])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", THREADED_FLAGS.join(" "))
        .current_dir(tools::root());
    step(&mut cargo)?;
    bindings(kind, &folder.join(BUILT), NAME, &["--enable-threads"])?;
    // With which size memory is to be made, only the module and its bindings know.
    let glue = tools::root().join(format!("www/lib/wasm/{NAME}.js"));
    let text = fs::read_to_string(&glue).unwrap_or_default();
    let pages = text.split_once("initial:").map_or("", |(_, rest)| rest);
    let pages: String = pages.chars().take_while(char::is_ascii_digit).collect();
    if pages.is_empty() {
        return Err(broken(
            NAME,
            &"its bindings do not say how large its memory is",
        ));
    }
    Ok(format!(
        "\
import * as glue from \"./wasm/{NAME}.js\";
export const threaded = {{
  glue,
  start: (module_or_path, memory) => glue.default({{ module_or_path, memory }}),
  wasmUrl: () => new URL(\"./wasm/{NAME}_bg.wasm\", import.meta.url),
  initialPages: {pages},
}};
"
    ))
}

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

const THREADED_TYPES: &str = "\
/** Undefined where there was nothing to build it with. */
export declare const threaded:
  | {
      glue: typeof import(\"./wasm/tandem.js\");
      start(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<unknown>;
      wasmUrl(): URL;
      /** Of memory, to begin with. */
      initialPages: number;
    }
  | undefined;
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
