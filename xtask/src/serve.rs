//! `cargo xtask serve`: the page on a loopback port.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::http::Server;
use crate::page::{self, Kind};
use crate::{tools, usage};

/// Builds, serves, and stays.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    let mut dev = false;
    let mut open = false;
    let mut port = 0;
    let mut hosts = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| usage(&format!("{arg} what?")));
        match arg.as_str() {
            "--dev" => dev = true,
            "--open" => open = true,
            "--port" => {
                let text = value()?;
                let parsed = text.parse();
                port = parsed.map_err(|_| usage(&format!("--port {text} is no port")))?;
            }
            "--connect" => hosts.push(value()?.clone()),
            other => return Err(usage(&format!("`serve` knows no `{other}`"))),
        }
    }
    let kind = if dev { Kind::Dev } else { Kind::Release };
    page::build(kind)?;
    let server = Server::start(page::site(), port, &hosts)?;
    println!("{}", server.url());
    if open {
        show(&server.url());
    }
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if dev {
            rebuild_on_change();
        }
    }
}

/// Waits for a change to the sources, then builds again.
fn rebuild_on_change() {
    let root = tools::root();
    let newest = || {
        let except = ["node_modules", "dist", "test-results", "wasm"];
        ["src", "shaders", "www", "Cargo.toml"]
            .iter()
            .filter_map(|part| page::newest(&root.join(part), &except))
            .max()
    };
    let before = newest();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if newest() != before {
            break;
        }
    }
    match page::build(Kind::Dev) {
        Ok(()) => eprintln!("rebuilt: reload the page"),
        Err(trouble) => eprintln!("xtask: {}", String::from(trouble)),
    }
}

fn show(url: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(opener);
    command.arg(url).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        eprintln!("xtask: no `{opener}`: open the address above yourself");
    }
}
