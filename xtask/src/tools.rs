//! What the verbs need from outside, found or set up, each once.
//!
//! Every function answers with the thing or with a [`Trouble`]: one line that says
//! what is not there and how to get it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// wasm-pack's version: nothing else in the repository fixes it.
const WASM_PACK_VERSION: &str = "0.15.1";

/// Why something could not be done, in one line.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// What it needs is not on this machine: `browser`, `node`, `gpu` or `rust`, and
    /// how to get it.
    Missing(&'static str, String),
    /// It was tried and failed; its own output says more.
    Broken(String),
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> String {
        match trouble {
            Trouble::Missing(_, why) | Trouble::Broken(why) => why,
        }
    }
}

fn missing(what: &'static str, why: impl Into<String>) -> Trouble {
    Trouble::Missing(what, why.into())
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A program on `PATH` or in `target/tools/bin`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .chain([tools_bin()])
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
}

fn tools_bin() -> PathBuf {
    target_dir().join("tools/bin")
}

/// `PATH` with the tools that were set up here in front.
pub fn path_with_tools() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools_bin()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

/// What a command prints, or `None` where it does not start or fails.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    output.status.success().then_some(text)
}

/// Runs a set-up step, its output shown, and fails with `how` where it fails.
fn set_up(what: &'static str, command: &mut Command, how: &str) -> Result<(), Trouble> {
    eprintln!("setting up: {}", shown(command));
    let done = command.stdin(Stdio::null()).status();
    if done.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(missing(what, format!("`{}` failed: {how}", shown(command))))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = [program].into_iter().chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Makes sure that Rust can build for wasm32.
pub fn wasm_target() -> Result<(), Trouble> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let libdir = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let there = libdir.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_string();
        fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
    });
    if there {
        return Ok(());
    }
    if find("rustup").is_none() {
        let why = format!(
            "no Rust standard library for {TARGET}, and no rustup to add it: get rustup \
             (https://rustup.rs), or your distribution's package for that target"
        );
        return Err(missing("rust", why));
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", TARGET]);
    set_up("rust", &mut add, "run it where there is a network")
}

/// Makes sure that the sources of Rust's standard library are here.
pub fn standard_library() -> Result<(), Trouble> {
    let there = || {
        let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"]));
        let library = "lib/rustlib/src/rust/library/std/Cargo.toml";
        sysroot.is_some_and(|sysroot| Path::new(&sysroot).join(library).is_file())
    };
    if there() {
        return Ok(());
    }
    if find("rustup").is_none() {
        let why = "the sources of Rust's standard library are not here, nor rustup to add them \
                   (https://rustup.rs; Debian: apt-get install rust-src)";
        return Err(missing("rust", why));
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rust-src"]);
    set_up("rust", &mut add, "run it where there is a network")?;
    match there() {
        true => Ok(()),
        false => Err(missing(
            "rust",
            "rustup added rust-src to another toolchain",
        )),
    }
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> Result<String, Trouble> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let entry = format!("name = \"{package}\"\nversion = \"");
    lock.split_once(&entry)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version.to_string())
        .ok_or_else(|| missing("rust", format!("Cargo.lock has no package {package}")))
}

/// wasm-bindgen's command line in the version of Cargo.lock.
pub fn wasm_bindgen() -> Result<PathBuf, Trouble> {
    cargo_tool(
        "wasm-bindgen",
        "wasm-bindgen-cli",
        &locked_version("wasm-bindgen")?,
    )
}

/// wasm-pack.
pub fn wasm_pack() -> Result<PathBuf, Trouble> {
    // Any version on PATH will do; ours is only what gets installed.
    if let Some(found) = find("wasm-pack") {
        return Ok(found);
    }
    cargo_tool("wasm-pack", "wasm-pack", WASM_PACK_VERSION)
}

/// A program from crates.io, in one version, installed into `target/tools` unless
/// it is there or on `PATH`.
fn cargo_tool(program: &str, package: &str, version: &str) -> Result<PathBuf, Trouble> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let found = [tools_bin()]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(&name))
        .find(|file| {
            let printed = output_of(Command::new(file).arg("--version")).unwrap_or_default();
            printed.split_whitespace().nth(1) == Some(version)
        });
    if let Some(found) = found {
        return Ok(found);
    }
    let tools = target_dir().join("tools");
    let mut install = Command::new("cargo");
    install
        // Not `--locked`: a tool's lock file may name versions that a mirror of
        // crates.io has not.
        .args(["install", "--quiet", "--root"])
        .arg(&tools)
        .arg(format!("{package}@{version}"))
        .current_dir(std::env::temp_dir()) // not this workspace's .cargo/config.toml
        .env("CARGO_TARGET_DIR", tools.join("build"))
        // Built once and run for seconds: what counts is how soon it is there.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    let how = format!(
        "get {package} {version} onto PATH (cargo install needs crates.io and a C compiler)"
    );
    set_up("rust", &mut install, &how)?;
    Ok(tools_bin().join(name))
}

/// Node and npm, new enough for the page's tools.
pub fn node() -> Result<PathBuf, Trouble> {
    const HOW: &str = "install Node.js 20.19 or newer (https://nodejs.org, or your distribution's \
                       nodejs and npm)";
    let node = find("node").ok_or_else(|| missing("node", format!("no `node`: {HOW}")))?;
    find("npm").ok_or_else(|| missing("node", format!("no `npm`: {HOW}")))?;
    let version = output_of(Command::new(&node).arg("--version")).unwrap_or_default();
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let pair = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if pair < (20, 19) {
        return Err(missing("node", format!("node is {version}: {HOW}")));
    }
    Ok(node)
}

/// `www/node_modules` as package-lock.json says.
pub fn npm_packages() -> Result<(), Trouble> {
    npm_packages_of(&root().join("www"))
}

/// `node_modules` in `folder`, as the package-lock.json there says.
pub fn npm_packages_of(folder: &Path) -> Result<(), Trouble> {
    node()?;
    let lock = fs::read(folder.join("package-lock.json")).unwrap_or_default();
    // A copy of the lock file that the packages came from: installed again only
    // when that changed.
    let stamp = folder.join("node_modules/.tandem-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let mut install = Command::new(find("npm").unwrap_or_else(|| "npm".into()));
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--loglevel", "error"])
        .current_dir(folder);
    let how = "npm needs its registry (or a filled cache: npm config get cache)";
    set_up("node", &mut install, how)?;
    fs::write(&stamp, lock)
        .map_err(|error| missing("node", format!("{}: {error}", stamp.display())))
}

/// A program of the page's packages, such as `vite`.
pub fn npm_program(program: &str) -> Result<Command, Trouble> {
    npm_packages()?;
    let www = root().join("www");
    let mut command = Command::new(www.join("node_modules/.bin").join(program));
    command.current_dir(www);
    Ok(command)
}

/// A Chromium and its driver.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The browser.
    pub chromium: PathBuf,
    /// What drives it for wasm-pack; Playwright needs none.
    pub driver: PathBuf,
}

/// A Chromium and a matching chromedriver: `$TANDEM_CHROMIUM` and
/// `$TANDEM_CHROMEDRIVER`, or what is on `PATH`, or Debian's packages.
pub fn browser() -> Result<Browser, Trouble> {
    static FOUND: OnceLock<Result<Browser, Trouble>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            if let Some(browser) = find_browser() {
                return Ok(browser);
            }
            let how = "install Chromium and its driver (Debian: apt-get install chromium \
                       chromium-driver), or set TANDEM_CHROMIUM and TANDEM_CHROMEDRIVER";
            debian_packages(&["chromium", "chromium-driver"]).map_err(|why| {
                missing(
                    "browser",
                    format!("no Chromium or no chromedriver{why}: {how}"),
                )
            })?;
            find_browser()
                .ok_or_else(|| missing("browser", format!("no Chromium or no chromedriver: {how}")))
        })
        .clone()
}

fn find_browser() -> Option<Browser> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let chromium = named("TANDEM_CHROMIUM").or_else(|| {
        let names = [
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ];
        let mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
        names
            .into_iter()
            .find_map(find)
            .or_else(|| Some(PathBuf::from(mac)))
    })?;
    let driver = named("TANDEM_CHROMEDRIVER").or_else(|| find("chromedriver"))?;
    (chromium.is_file() && driver.is_file()).then_some(Browser { chromium, driver })
}

/// Whether this machine has a Vulkan driver (a software one will do). Elsewhere
/// than on Linux the system brings its own graphics interface.
pub fn vulkan() -> Result<(), Trouble> {
    if !cfg!(target_os = "linux") || has_vulkan() {
        return Ok(());
    }
    let how = "install one (Debian: apt-get install mesa-vulkan-drivers, a software one)";
    debian_packages(&["mesa-vulkan-drivers"])
        .map_err(|why| missing("gpu", format!("no Vulkan driver{why}: {how}")))
}

/// The driver of the software GPU that Chromium brings, for Vulkan programs.
pub fn swiftshader() -> Result<PathBuf, Trouble> {
    let chromium = browser()?.chromium;
    let own = fs::canonicalize(&chromium).ok();
    let own = own.and_then(|file| file.parent().map(Path::to_path_buf));
    let folders = [
        "/usr/lib/chromium",
        "/usr/lib/chromium-browser",
        "/opt/google/chrome",
    ];
    let mut folders = own.into_iter().chain(folders.map(PathBuf::from));
    let found = folders.find_map(|folder| {
        let file = folder.join("vk_swiftshader_icd.json");
        file.is_file().then_some(file)
    });
    found.ok_or_else(|| {
        let why = format!("no vk_swiftshader_icd.json beside {}", chromium.display());
        missing("gpu", why)
    })
}

fn has_vulkan() -> bool {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    named.iter().any(|name| std::env::var_os(name).is_some())
        || folders
            .iter()
            .any(|folder| fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some()))
}

/// Installs packages where this is Debian and we are root. The error is a clause
/// that says why it did not, or nothing.
fn debian_packages(packages: &[&str]) -> Result<(), String> {
    if find("apt-get").is_none() {
        return Err(String::new());
    }
    if output_of(Command::new("id").arg("-u")).as_deref() != Some("0") {
        return Err(" (and not root, so not installed)".to_string());
    }
    eprintln!("setting up: apt-get install {}", packages.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    // The lists may be there already, and an update may fail for another
    // repository's sake: only the last attempt counts.
    if apt(&install) || (apt(&["update"]) | apt(&install)) && apt(&install) {
        return Ok(());
    }
    Err(" (and apt-get could not install it)".to_string())
}
