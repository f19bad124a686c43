//! A small static server for the page, on loopback only, with the headers that the
//! page's promises rest on.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::tools;

/// Where models are fetched from without being asked for by `--connect`: Hugging
/// Face, and the hosts it redirects downloads to.
const MODEL_HOSTS: &[&str] = &[
    "https://huggingface.co",
    "https://*.huggingface.co",
    "https://*.hf.co",
];

/// The one inline script that may run: of the frame in which a tool's code runs
/// (`www/sandbox/document.ts`; the page's tests hold this to it).
const TOOL_SCRIPT: &str = "sha256-wxDo4SZAkfbq9BG3Hsd2XymBk56P9JvC+LPsF6YwviU=";

/// The frame that makes a tool's requests, below whatever page uses it.
pub const BROKER: &str = "sandbox/broker.html";

/// A server that runs until the process ends.
pub struct Server {
    port: u16,
}

struct Site {
    folder: PathBuf,
    headers: String,
    /// For [`BROKER`].
    broker: String,
}

impl Server {
    /// Serves a folder's files to pages of other origins: what browser tests read,
    /// who have no files of their own.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub fn start_shared(folder: PathBuf, port: u16) -> Result<Self, String> {
        let headers = [
            "Access-Control-Allow-Origin: *",
            "Access-Control-Expose-Headers: Content-Range, Content-Length",
            "Cross-Origin-Resource-Policy: cross-origin",
            "Accept-Ranges: bytes",
            "Connection: close",
        ];
        let headers = headers.map(|line| format!("{line}\r\n")).concat();
        Self::listen(
            Site {
                folder,
                broker: headers.clone(),
                headers,
            },
            port,
        )
    }

    /// Serves `folder` on `port` of 127.0.0.1 (0: a free one). `hosts` may be
    /// fetched from, besides [`MODEL_HOSTS`].
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub fn start(folder: PathBuf, port: u16, hosts: &[String]) -> Result<Self, String> {
        let headers = headers(hosts);
        let broker = broker_headers(hosts);
        Self::listen(
            Site {
                folder,
                headers,
                broker,
            },
            port,
        )
    }

    /// Serves the page to its tests: as [`Server::start`], but the frames that make requests
    /// may make them to this machine too, where the tests' servers are.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub fn start_for_tests(folder: PathBuf) -> Result<Self, String> {
        let site = Site {
            folder,
            headers: headers(&[]),
            broker: broker_headers(&["http://127.0.0.1:*".to_string()]),
        };
        Self::listen(site, 0)
    }

    fn listen(site: Site, port: u16) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .map_err(|error| format!("port {port} of 127.0.0.1: {error}"))?;
        let port = listener
            .local_addr()
            .map_err(|error| error.to_string())?
            .port();
        let site = Arc::new(site);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = Arc::clone(&site);
                // A browser that goes away mid-answer is its own affair.
                std::thread::spawn(move || drop(site.answer(stream)));
            }
        });
        Ok(Self { port })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// The headers of every answer. Cross-origin isolation gives precise timers and
/// threads. The policy names everything the page may do: nothing may be
/// loaded or reached that is not listed, and no frame may hold the page. A
/// rebound name must not reach the person's own network either.
pub fn headers(hosts: &[String]) -> String {
    let mut connect: Vec<&str> = MODEL_HOSTS.to_vec();
    connect.extend(hosts.iter().map(String::as_str));
    let policy = [
        "default-src 'none'",
        &format!("script-src 'self' 'wasm-unsafe-eval' '{TOOL_SCRIPT}'"),
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "media-src 'self' blob:",
        &format!("connect-src 'self' {}", connect.join(" ")),
        "frame-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    .join("; ");
    all_headers(&policy)
}

/// The headers of [`BROKER`], the frame of `www/sandbox` that makes a request. Its one inline
/// script is all that is in it, and `sandbox` makes its origin opaque however it is opened. It
/// narrows itself to the one origin that was allowed before it fetches. (Tools run in a frame
/// that is not fetched: `www/sandbox/document.ts`.)
pub fn broker_headers(hosts: &[String]) -> String {
    all_headers(&format!(
        "default-src 'none'; connect-src https: {}; script-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts",
        hosts.join(" ")
    ))
}

fn all_headers(policy: &str) -> String {
    [
        "Cross-Origin-Opener-Policy: same-origin",
        "Cross-Origin-Embedder-Policy: require-corp",
        "Cross-Origin-Resource-Policy: same-origin",
        &format!("Content-Security-Policy: {policy}"),
        "Permissions-Policy: local-network=(), loopback-network=(), local-network-access=(), \
         camera=(), microphone=(), geolocation=()",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-cache",
        "Accept-Ranges: bytes",
        "Connection: close",
    ]
    .map(|line| format!("{line}\r\n"))
    .concat()
}

impl Site {
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut lines = BufReader::new(stream.try_clone()?).take(64 << 10).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let mut range = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("range")
            {
                range = Some(value.trim().to_string());
            }
        }
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if !matches!(method, "GET" | "HEAD") {
            return self.refuse(&mut stream, "405 Method Not Allowed");
        }
        let Some(path) = self.path(target) else {
            return self.refuse(&mut stream, "404 Not Found");
        };
        let Ok(mut file) = File::open(&path) else {
            return self.refuse(&mut stream, "404 Not Found");
        };
        let len = file.metadata()?.len();
        let part = match range.as_deref().map(|text| parse_range(text, len)) {
            None => None,
            Some(Some(part)) => Some(part),
            Some(None) => return self.refuse(&mut stream, "416 Range Not Satisfiable"),
        };
        let (start, end) = part.unwrap_or((0, len));
        let status = if part.is_some() {
            format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{len}",
                end - 1
            )
        } else {
            "200 OK".to_string()
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}\r\n",
            content_type(&path),
            end - start,
            self.headers_of(&path)
        );
        stream.write_all(head.as_bytes())?;
        if method == "GET" {
            file.seek(SeekFrom::Start(start))?;
            io::copy(&mut file.take(end - start), &mut stream)?;
        }
        Ok(())
    }

    fn headers_of(&self, path: &Path) -> &str {
        match path.ends_with(BROKER) {
            true => &self.broker,
            false => &self.headers,
        }
    }

    fn refuse(&self, stream: &mut TcpStream, status: &str) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{}\r\n{status}",
            status.len(),
            self.headers
        );
        stream.write_all(head.as_bytes())
    }

    /// The file behind a request target; `/models/` is the repository's own folder.
    fn path(&self, target: &str) -> Option<PathBuf> {
        let target = target.split(['?', '#']).next()?.strip_prefix('/')?;
        let target = percent_decoded(target)?;
        let relative = Path::new(&target);
        // Nothing but names: no `..`, no drive, no second root.
        let plain = |part| matches!(part, Component::Normal(_));
        if !relative.components().all(plain) {
            return None;
        }
        let path = match relative.strip_prefix("models") {
            Ok(model) => tools::root().join("models").join(model),
            Err(_) => self.folder.join(relative),
        };
        let path = if path.is_dir() {
            path.join("index.html")
        } else {
            path
        };
        // A link must not lead out either.
        let path = fs::canonicalize(path).ok()?;
        let inside =
            |folder: &Path| fs::canonicalize(folder).is_ok_and(|folder| path.starts_with(folder));
        (inside(&self.folder) || inside(&tools::root().join("models"))).then_some(path)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n` as a half-open range of `len` bytes.
fn parse_range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = if start.is_empty() {
        (len.saturating_sub(end.parse().ok()?), len)
    } else {
        let last = if end.is_empty() {
            u64::MAX
        } else {
            end.parse().ok()?
        };
        (start.parse().ok()?, last.saturating_add(1).min(len))
    };
    (start < end).then_some((start, end))
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|name| name.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_inside() {
        assert_eq!(parse_range("bytes=0-0", 10), Some((0, 1)));
        assert_eq!(parse_range("bytes=4-", 10), Some((4, 10)));
        assert_eq!(parse_range("bytes=-3", 10), Some((7, 10)));
        assert_eq!(parse_range("bytes=2-99", 10), Some((2, 10)));
        assert_eq!(parse_range("bytes=10-", 10), None);
        assert_eq!(parse_range("bytes=5-2", 10), None);
        assert_eq!(parse_range("lines=1-2", 10), None);
    }

    #[test]
    fn only_files_inside_the_site_are_served() {
        let folder = tools::root().join("xtask");
        let site = Site {
            folder,
            headers: headers(&[]),
            broker: String::new(),
        };
        assert!(site.path("/src/http.rs?x=1").is_some());
        assert!(site.path("/src%2Fhttp.rs").is_some());
        for outside in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "//etc/passwd", "x"] {
            assert_eq!(site.path(outside), None, "{outside}");
        }
    }

    #[test]
    fn the_frame_that_makes_requests_holds_no_origin() {
        let site = Site {
            folder: PathBuf::new(),
            headers: headers(&[]),
            broker: broker_headers(&[]),
        };
        let broker = site.headers_of(Path::new("/x/dist/testing/sandbox/broker.html"));
        assert!(broker.contains("default-src 'none'; connect-src https: ;"));
        assert!(broker.contains("sandbox allow-scripts\r\n"));
        assert!(broker.contains("loopback-network=()"));
        let page = site.headers_of(Path::new("/x/dist/index.html"));
        assert!(page.contains("frame-ancestors 'none'") && !page.contains("unsafe-inline"));
    }

    #[test]
    fn every_answer_carries_the_policy() {
        let all = headers(&["https://example.com".to_string()]);
        for needed in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "require-corp",
            "loopback-network=()",
            "https://example.com",
        ] {
            assert!(all.contains(needed), "{needed}");
        }
        assert!(!all.contains("unsafe-inline"));
    }
}
