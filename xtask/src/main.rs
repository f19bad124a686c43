//! `cargo xtask <verb>`: builds, serves and tests the project, and sets up what
//! that needs.
//!
//! - [`bench`] measures it beside what people would use instead.
//! - [`test`] runs the checks and counts them; [`report`] is the counting.
//! - [`serve`] builds the page ([`page`]) and serves it ([`http`]); [`site`] makes a folder
//!   of it for static hosts.
//! - [`package`] makes the npm package.
//! - [`tools`] finds or installs what the verbs need, and says in one line what it
//!   cannot.

mod bench;
mod http;
mod package;
mod page;
mod report;
mod serve;
mod site;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <verb>

  package --site [--out DIR] [--connect HOST]...
        the page as a folder for any static host, also below a path
  serve [--dev] [--open] [--port N] [--connect HOST]...
        build the engine and the page, serve them on a loopback port, print the URL
        --dev      rebuild on change, without wasm-opt
        --open     open it in a browser
        --port     this port instead of a free one
        --connect  a host that models may be fetched from, besides Hugging Face
  test [--native | --web | --page]
        every check there is, or one part: Rust on this machine; wasm in a headless
        browser; the page. The last line is `N passed, N failed, N skipped`.
        TANDEM_REQUIRE=gpu,browser makes a part that cannot run fail instead of skip.
  bench [--models REGEX] [--engines REGEX] [--prompt N] [--tokens N] [--gpu-tokens N]
        [--repeat N] [--timeout SECONDS]
        this engine beside wllama and transformers.js in a headless Chromium, in turns, on
        the same weights: a table, and bench.json, bench.md and bench.svg in target/bench
  bless
        rewrite the files that tests compare with: tests/counters.json
  package
        make the npm package of the library, and print where it is
        TANDEM_THREADS=1 builds the engine a second time, with threads for pages that are
        cross-origin isolated: so it does for serve, test and package --site
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = args.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match verb.as_str() {
        "package" if rest.first().is_some_and(|arg| arg == "--site") => site::run(&rest[1..]),
        "serve" => serve::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "bless" => test::bless(rest),
        "package" => package::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => Err(usage(&format!("no verb `{other}`"))),
    };
    match outcome {
        Ok(code) => code,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The error for arguments nobody understands.
fn usage(problem: &str) -> String {
    format!("{problem}\n\n{USAGE}")
}
