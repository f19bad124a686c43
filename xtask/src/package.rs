//! `cargo xtask package`: the library as npm gets it, `target/package/tandem-llm-VERSION.tgz`.
//!
//! TypeScript is compiled file by file and nothing is bundled: bundlers find the worker and
//! the wasm by the expressions that the sources have them in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::{Value, json};

use crate::tools::{self, Trouble};
use crate::{page, usage};

/// The verb.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    if let Some(other) = args.first() {
        return Err(usage(&format!("`package` knows no `{other}`")));
    }
    let tarball = build(page::Kind::Release).and_then(|tarball| check().map(|()| tarball))?;
    println!("{}", tarball.display());
    Ok(ExitCode::SUCCESS)
}

fn folder() -> PathBuf {
    tools::target_dir().join("package/tandem-llm")
}

/// Builds the package's folder and packs it; answers with the tarball.
///
/// # Errors
/// A tool that is missing, or a step that failed.
pub fn build(kind: page::Kind) -> Result<PathBuf, Trouble> {
    tools::npm_packages()?;
    page::wasm(kind)?;
    let lib = tools::root().join("www/lib");
    let out = folder();
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|error| broken(&out, &error))?;
    }
    let dist = out.join("dist");
    let mut tsc = tools::npm_program("tsc")?;
    tsc.args(["-p", "lib/tsconfig.package.json", "--outDir"]);
    page::step(tsc.arg(&dist))?;
    let (modules, has_threads) = modules(&lib)?;
    for path in modules {
        let target = path.strip_prefix(&lib).unwrap_or(&path);
        copy(&path, &dist.join(target))?;
    }
    rename_imports(&dist)?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&tools::root().join(name), &out.join(name))?;
    }
    copy(&lib.join("README.md"), &out.join("README.md"))?;
    for name in ["tandem-target-q8_0.gguf", "tandem-draft-q8_0.gguf"] {
        let models = tools::root().join("models");
        copy(&models.join(name), &out.join("models").join(name))?;
    }
    let manifest = manifest(&lib.join("package.json"), has_threads)?;
    let file = out.join("package.json");
    fs::write(&file, format!("{manifest:#}\n")).map_err(|error| broken(&file, &error))?;
    let mut npm = Command::new(tools::find("npm").unwrap_or_else(|| "npm".into()));
    npm.args(["pack", "--silent", "--ignore-scripts"])
        .arg("--pack-destination")
        .arg(tools::target_dir().join("package"))
        .current_dir(&out);
    page::step(npm.stdout(std::process::Stdio::null()))?;
    let version = manifest["version"].as_str().unwrap_or_default();
    Ok(tools::target_dir().join(format!("package/tandem-llm-{version}.tgz")))
}

/// The engine's modules and their types; whether those with threads are among them.
fn modules(lib: &Path) -> Result<(Vec<PathBuf>, bool), Trouble> {
    let threaded = lib.join("threaded.js");
    let text = fs::read_to_string(&threaded).map_err(|error| broken(&threaded, &error))?;
    let has_threads = text.contains("tandem_threads");
    let wasm = lib.join("wasm");
    let entries = fs::read_dir(&wasm).map_err(|error| broken(&wasm, &error))?;
    let mut modules: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // What a build without threads leaves of an earlier one with them is not the package's.
    modules.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && (has_threads || !name.starts_with("tandem_threads"))
    });
    modules.extend([threaded, lib.join("threaded.d.ts")]);
    Ok((modules, has_threads))
}

/// What publint and are-the-types-wrong say of the package that was built.
///
/// # Errors
/// Where they object.
pub fn check() -> Result<(), Trouble> {
    let mut publint = tools::npm_program("publint")?;
    page::step(publint.arg("--strict").arg(folder()))?;
    let mut attw = tools::npm_program("attw")?;
    attw.arg("--pack").arg(folder());
    attw.args([
        "--profile",
        "esm-only",
        "--no-definitely-typed",
        "--no-emoji",
    ]);
    // Wasm is no module; the flag takes all that follows.
    attw.arg("--exclude-entrypoints");
    attw.args(["./tandem_bg.wasm", "./tandem_threads_bg.wasm"]);
    page::step(&mut attw)
}

/// The workspace's own package.json, pointing at what is built instead of at sources.
fn manifest(source: &Path, has_threads: bool) -> Result<Value, Trouble> {
    let text = fs::read_to_string(source).map_err(|error| broken(source, &error))?;
    let mut manifest: Value =
        serde_json::from_str(&text).map_err(|error| broken(source, &error))?;
    let module = |name: &str| json!({ "types": format!("./dist/{name}.d.ts"), "default": format!("./dist/{name}.js") });
    let Some(fields) = manifest.as_object_mut() else {
        return Err(broken(source, &"is no object"));
    };
    fields.remove("private");
    let mut exports = serde_json::Map::new();
    if let Some(named) = fields["exports"].as_object() {
        for (path, file) in named {
            let name = file.as_str().unwrap_or_default();
            let name = name.trim_start_matches("./").trim_end_matches(".ts");
            exports.insert(path.clone(), module(name));
        }
    }
    let plain = [
        ("./tandem_bg.wasm", "./dist/wasm/tandem_bg.wasm"),
        ("./models/*", "./models/*"),
        ("./package.json", "./package.json"),
    ];
    for (path, file) in plain {
        exports.insert(path.to_string(), file.into());
    }
    if has_threads {
        let file = "tandem_threads_bg.wasm";
        exports.insert(format!("./{file}"), format!("./dist/wasm/{file}").into());
    }
    fields.insert("exports".to_string(), exports.into());
    fields.insert("types".to_string(), "./dist/index.d.ts".into());
    fields.insert("main".to_string(), "./dist/index.js".into());
    fields.insert("sideEffects".to_string(), json!(["./dist/worker.js"]));
    fields.insert("files".to_string(), json!(["dist", "models", "LICENSE-*"]));
    Ok(manifest)
}

/// Compiled modules are called `.js`, and the weights lie one folder nearer.
fn rename_imports(folder: &Path) -> Result<(), Trouble> {
    let entries = fs::read_dir(folder).map_err(|error| broken(folder, &error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            rename_imports(&path)?;
            continue;
        }
        let name = path.to_string_lossy();
        if !name.ends_with(".js") && !name.ends_with(".d.ts") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| broken(&path, &error))?;
        let text = text
            .lines()
            .map(|line| {
                let refers = line.contains("import") || line.contains("from \"");
                match refers {
                    true => line
                        .replace(".ts\"", ".js\"")
                        .replace("../../models/", "../models/"),
                    false => line.to_string(),
                }
            })
            .collect::<Vec<_>>()
            .join("\n");
        fs::write(&path, text + "\n").map_err(|error| broken(&path, &error))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Trouble> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| broken(folder, &error))?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| broken(from, &error))
}

fn broken(path: &Path, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::Broken(format!("{}: {why}", path.display()))
}
