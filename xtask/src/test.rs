//! `cargo xtask test`: every check there is, in three parts.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

use crate::http::Server;
use crate::report::{Counts, Report, counts_from_libtest};
use crate::tools::{self, Trouble};
use crate::{package, page, usage};

/// Runs the parts that `args` ask for, or all.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    let mut parts = Vec::new();
    for arg in args {
        match arg.as_str() {
            "--native" | "--web" | "--page" => parts.push(arg.trim_start_matches("--")),
            other => return Err(usage(&format!("`test` knows no `{other}`"))),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut report = Report::new();
    if wanted("native") {
        native(&mut report);
    }
    if wanted("web") {
        web(&mut report);
    }
    if wanted("page") {
        page_part(&mut report);
    }
    Ok(report.finish())
}

fn native(report: &mut Report) {
    report.part("rustfmt", || {
        check(Command::new("cargo").args(["fmt", "--all", "--check"]))
    });
    report.part("clippy", || {
        check(cargo("clippy", ["--workspace", "--all-targets"]).args(["--", "-D", "warnings"]))
    });
    // Without a driver the tests that need one skip themselves.
    if let Err(trouble) = tools::vulkan() {
        eprintln!("note: {}", String::from(trouble));
    }
    report.part("rust tests", || {
        let mut test = cargo("test", ["--workspace", "--no-fail-fast"]);
        test.args(["--", "--show-output"]);
        libtest(&mut test)
    });
    // A second driver reads the same shaders in its own way, with other subgroups.
    report.part("GPU kernels on SwiftShader", || {
        let driver = tools::swiftshader()?;
        let mut test = cargo("test", ["--workspace", "--test", "kernels"]);
        // Op by op: whole models and replies would take it a quarter of an hour, and
        // Chromium's own run below has some.
        let ops = [
            "attention::",
            "elementwise::",
            "projections::",
            "sampling::",
        ];
        test.args(["--", "--show-output", "--skip", "closed_form"])
            .args(ops)
            .env("VK_DRIVER_FILES", &driver)
            .env("VK_ICD_FILENAMES", &driver);
        libtest(&mut test)
    });
}

/// Rewrites what the tests hold to files that are checked in: what passes cost on a GPU.
pub fn bless(args: &[String]) -> Result<ExitCode, String> {
    if let Some(arg) = args.first() {
        return Err(usage(&format!("`bless` knows no `{arg}`")));
    }
    tools::vulkan().map_err(String::from)?;
    let mut test = cargo("test", ["--workspace", "--test", "kernels", "counters"]);
    let ok = check(test.env("TANDEM_BLESS", "1"));
    match ok.map_err(String::from)?.failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

fn web(report: &mut Report) {
    report.part("clippy for wasm32", || {
        tools::wasm_target()?;
        let args = ["--package", "tandem", "--all-targets", "--target"];
        check(cargo("clippy", args).args(["wasm32-unknown-unknown", "--", "-D", "warnings"]))
    });
    report.part("wasm tests in a browser", || {
        tools::wasm_target()?;
        let browser = tools::browser()?;
        let wasm_pack = tools::wasm_pack()?;
        tools::wasm_bindgen()?;
        let shared = shared_url();
        let mut test = Command::new(wasm_pack);
        test.args(["test", "--headless", "--chrome", "--chromedriver"])
            .arg(&browser.driver)
            // `--test web` alone: the other test files have nothing for wasm, yet
            // each would be linked and loaded.
            .args(["--", "--lib", "--test", "web", "--", "--nocapture"])
            .env("PATH", tools::path_with_tools())
            .env(
                "WASM_BINDGEN_TEST_WEBDRIVER_JSON",
                webdriver(&browser.chromium)?,
            );
        if let Some(url) = shared {
            test.env("TANDEM_SHARED_URL", url);
        }
        libtest(&mut test)
    });
}

/// Serves the data that the tests share, where it is, and answers with the address
/// they find it under. They are compiled with it, so it stays the same while it can.
fn shared_url() -> Option<String> {
    const PORT: u16 = 38_017;
    let root = tools::root();
    let folders = match std::env::var_os("TANDEM_SHARED") {
        Some(folder) => vec![folder.into()],
        None => vec![root.join("../shared"), root.join("../../shared")],
    };
    let folder = folders.into_iter().find(|folder| folder.is_dir())?;
    let server = Server::start_shared(folder.clone(), PORT)
        .or_else(|_| Server::start_shared(folder, 0))
        .ok()?;
    Some(server.url().trim_end_matches('/').to_string())
}

/// webdriver.json with the browser that was found.
fn webdriver(chromium: &Path) -> Result<PathBuf, Trouble> {
    let broken = |why: &dyn std::fmt::Display| Trouble::Broken(format!("webdriver.json: {why}"));
    let text = fs::read_to_string(tools::root().join("webdriver.json")).map_err(|e| broken(&e))?;
    let mut json: Value = serde_json::from_str(&text).map_err(|e| broken(&e))?;
    json["goog:chromeOptions"]["binary"] = chromium.to_string_lossy().into();
    let folder = tools::target_dir().join("tools");
    let file = folder.join("webdriver.json");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, json.to_string()))
        .map_err(|e| broken(&e))?;
    Ok(file)
}

fn page_part(report: &mut Report) {
    let mut built = false;
    report.part("page build", || {
        page::build(page::Kind::Release)?;
        page::build_testing()?;
        built = true;
        Ok(Counts::one(true))
    });
    let mut tarball = None;
    report.part("npm package", || {
        tarball = Some(package::build(page::Kind::Release)?);
        package::check()?;
        Ok(Counts::one(true))
    });
    report.part("tsc and svelte-check", || {
        check(npm()?.args(["run", "--silent", "check"]))
    });
    report.part("eslint", || check(npm()?.args(["run", "--silent", "lint"])));
    report.part("page in a browser", || {
        tools::npm_packages()?;
        let browser = tools::browser()?;
        if !built {
            return Err(Trouble::Broken("there is no page to test".to_string()));
        }
        let server = Server::start_for_tests(page::site()).map_err(Trouble::Broken)?;
        let mut playwright = tools::npm_program("playwright")?;
        playwright
            .args(["test", "--reporter", "json"])
            .env("TANDEM_URL", server.url())
            .env("TANDEM_CHROMIUM", browser.chromium);
        if let Some(tarball) = &tarball {
            playwright.env("TANDEM_PACKAGE", tarball);
        }
        Ok(run_playwright(&mut playwright))
    });
}

fn npm() -> Result<Command, Trouble> {
    tools::npm_packages()?;
    let mut npm = Command::new(tools::find("npm").unwrap_or_else(|| "npm".into()));
    npm.current_dir(tools::root().join("www"));
    Ok(npm)
}

fn cargo<const N: usize>(verb: &str, args: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.arg(verb).args(args).current_dir(tools::root());
    command
}

/// Runs a command whose exit status is the check; its output is shown.
fn check(command: &mut Command) -> Result<Counts, Trouble> {
    // What it prints goes to stderr, so that stdout is the report alone.
    let (ok, text) = captured(command);
    if !ok || !text.trim().is_empty() {
        eprint!("{text}");
    }
    Ok(Counts::one(ok))
}

/// Runs a test harness and counts what it says.
fn libtest(command: &mut Command) -> Result<Counts, Trouble> {
    let (ok, text) = captured(command.current_dir(tools::root()));
    let mut counts = counts_from_libtest(&text);
    if !ok && counts.failed == 0 {
        // It did not compile, or died before it could say.
        counts.failed = 1;
    }
    if counts.failed > 0 {
        eprint!("{text}");
    }
    Ok(counts)
}

/// Whether the command succeeded, and its stdout; stderr is shown as it comes.
fn captured(command: &mut Command) -> (bool, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let program = command.get_program().display();
            return (false, format!("{program} does not start: {error}\n"));
        }
    };
    let mut bytes = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        // A broken pipe means that the child died; its status says so.
        let _ = stdout.read_to_end(&mut bytes);
    }
    let ok = child.wait().is_ok_and(|status| status.success());
    (ok, String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs Playwright with its JSON reporter and counts its tests.
fn run_playwright(command: &mut Command) -> Counts {
    let (ok, text) = captured(command);
    let Ok(found) = serde_json::from_str::<Value>(&text) else {
        eprint!("{text}");
        return Counts::one(false);
    };
    let mut counts = Counts::default();
    for error in found["errors"].as_array().into_iter().flatten() {
        eprintln!("{}", error["message"].as_str().unwrap_or_default());
        counts.failed += 1;
    }
    for suite in found["suites"].as_array().into_iter().flatten() {
        count_suite(suite, &mut counts);
    }
    if !ok && counts.failed == 0 {
        counts.failed = 1;
    }
    counts
}

fn count_suite(suite: &Value, counts: &mut Counts) {
    for inner in suite["suites"].as_array().into_iter().flatten() {
        count_suite(inner, counts);
    }
    for spec in suite["specs"].as_array().into_iter().flatten() {
        let title = spec["title"].as_str().unwrap_or_default();
        for test in spec["tests"].as_array().into_iter().flatten() {
            match test["status"].as_str() {
                Some("expected") => counts.passed += 1,
                Some("skipped") => {
                    let why = test["annotations"][0]["description"].as_str();
                    let why = why.unwrap_or("page: skipped without a reason");
                    counts.skipped.push(format!("{why} ({title})"));
                }
                _ => {
                    counts.failed += 1;
                    eprintln!("FAILED: {title}");
                    for result in test["results"].as_array().into_iter().flatten() {
                        let message = result["error"]["message"].as_str();
                        eprintln!("{}", message.unwrap_or_default());
                    }
                }
            }
        }
    }
}
