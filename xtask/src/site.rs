//! `cargo xtask package --site`: the page as a folder for any static host, also below a
//! path, and also where no header can be set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::http;
use crate::page::{self, Kind};
use crate::{tools, usage};

const POLICY: &str = "Content-Security-Policy: ";

/// The verb; answers on stdout with the folder.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    let mut out = tools::target_dir().join("site");
    let mut hosts = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| usage(&format!("{arg} what?")));
        match arg.as_str() {
            "--out" => out = PathBuf::from(value()?),
            "--connect" => hosts.push(value()?.clone()),
            other => return Err(usage(&format!("`package --site` knows no `{other}`"))),
        }
    }
    page::build(Kind::Release)?;
    write(&page::site(), &out, &hosts)?;
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// Copies the page, with its policy inside for hosts that send none, and in `_headers` for
/// those that read that file (Netlify, Cloudflare Pages). `hosts` may be fetched from.
fn write(site: &Path, out: &Path, hosts: &[String]) -> Result<(), String> {
    let headers = http::headers(hosts);
    // Only what was put there by this verb is taken away.
    let marker = out.join("_headers");
    if out.exists() && !marker.exists() && is_used(out) {
        return Err(format!("{} holds something else", out.display()));
    }
    if out.exists() {
        fs::remove_dir_all(out).map_err(|error| broken(out, &error))?;
    }
    copy(site, out)?;
    let index = out.join("index.html");
    let html = fs::read_to_string(&index).map_err(|error| broken(&index, &error))?;
    let html = with_policy(&html, &headers).ok_or("index.html has no head")?;
    fs::write(&index, html).map_err(|error| broken(&index, &error))?;
    fs::write(
        &marker,
        headers_file(&headers, &http::broker_headers(hosts)),
    )
    .map_err(|error| broken(&marker, &error))?;
    // GitHub Pages would otherwise leave files out.
    let plain = out.join(".nojekyll");
    fs::write(&plain, "").map_err(|error| broken(&plain, &error))
}

/// `_headers`. Rules that match one address add up, and of two policies the stricter counts:
/// so the page's is said of the page and its scripts, and the broker's of the broker.
fn headers_file(page: &str, broker: &str) -> String {
    let is_policy = |line: &&str| line.starts_with(POLICY);
    let policy_of = |headers: &str| {
        headers
            .lines()
            .find(is_policy)
            .unwrap_or_default()
            .to_string()
    };
    let common = page
        .lines()
        .filter(|line| !is_policy(line))
        .filter(|line| !line.starts_with("Connection") && !line.starts_with("Accept-Ranges"));
    let mut file = String::from("/*\n");
    for line in common {
        file += &format!("  {line}\n");
    }
    for place in ["/", "/index.html", "/service-worker.js", "/assets/*"] {
        file += &format!("{place}\n  {}\n", policy_of(page));
    }
    file + &format!("/{}\n  {}\n", http::BROKER, policy_of(broker))
}

fn is_used(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The page with the policy of `headers` before anything that it is about. Who may hold the
/// page in a frame can be said in a header alone.
fn with_policy(html: &str, headers: &str) -> Option<String> {
    let policy = headers.lines().find_map(|line| line.strip_prefix(POLICY))?;
    let policy: Vec<&str> = policy
        .split(';')
        .map(str::trim)
        .filter(|rule| !rule.starts_with("frame-ancestors"))
        .collect();
    let (before, after) = html.split_once("<head>")?;
    let policy = policy.join("; ");
    Some(format!(
        "{before}<head>\n    <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\" />{after}"
    ))
}

/// Copies a folder; the library's test page, where a test run left it, stays behind.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| broken(to, &error))?;
    for entry in fs::read_dir(from)
        .map_err(|error| broken(from, &error))?
        .flatten()
    {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            if entry.file_name() != "testing" {
                copy(&path, &target)?;
            }
        } else {
            fs::copy(&path, &target).map_err(|error| broken(&target, &error))?;
        }
    }
    Ok(())
}

fn broken(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_comes_first_in_the_page() {
        let html = "<!doctype html><html><head><script src=x></script></head></html>";
        let page = with_policy(html, &http::headers(&[])).unwrap();
        let policy = page.find("default-src 'none'").unwrap();
        assert!(policy < page.find("<script").unwrap());
        assert!(!page.contains("frame-ancestors"));
        assert_eq!(with_policy("<html></html>", &http::headers(&[])), None);
    }

    #[test]
    fn the_page_s_policy_is_not_the_broker_s() {
        let file = headers_file(&http::headers(&[]), &http::broker_headers(&[]));
        let of = |place: &str| {
            let rule = file.split_once(&format!("\n{place}\n")).unwrap().1;
            rule.lines().next().unwrap().to_string()
        };
        assert!(of("/").contains("frame-ancestors 'none'"));
        assert_eq!(of("/"), of("/assets/*"));
        assert!(of("/sandbox/broker.html").contains("sandbox allow-scripts"));
        let (common, _) = file.split_once("\n/\n").unwrap();
        assert!(common.contains("Cross-Origin-Embedder-Policy") && !common.contains(POLICY));
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let base = tools::target_dir().join("tmp/site-test");
        let _ = fs::remove_dir_all(&base);
        let (site, out) = (base.join("dist"), base.join("out"));
        fs::create_dir_all(site.join("testing")).unwrap();
        fs::write(site.join("index.html"), "<html><head></head></html>").unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("mine"), "1").unwrap();
        assert!(write(&site, &out, &[]).is_err());
        fs::remove_file(out.join("mine")).unwrap();
        write(&site, &out, &[]).unwrap();
        write(&site, &out, &[]).unwrap();
        assert!(out.join("_headers").exists() && !out.join("testing").exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
