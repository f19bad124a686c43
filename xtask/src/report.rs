//! Counting checks: what ran, what failed, what was skipped and why.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::tools::Trouble;

/// What a part of the suite came to. A command such as clippy is one check; a test
/// runner is as many as it ran.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: usize,
    /// Ran and did not hold.
    pub failed: usize,
    /// Did not run: `what: why`.
    pub skipped: Vec<String>,
}

impl Counts {
    /// One check that held, or did not.
    pub fn one(held: bool) -> Self {
        Self {
            passed: usize::from(held),
            failed: usize::from(!held),
            skipped: Vec::new(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.iter().cloned());
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.skipped.len();
        write!(
            f,
            "{} passed, {} failed, {skipped} skipped",
            self.passed, self.failed
        )
    }
}

/// A whole run.
pub struct Report {
    total: Counts,
    failures: Vec<String>,
    required: Vec<String>,
    started: Instant,
}

impl Report {
    /// An empty one; `TANDEM_REQUIRE` says which skips are failures.
    pub fn new() -> Self {
        let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
        Self {
            total: Counts::default(),
            failures: Vec::new(),
            required: required
                .split(',')
                .map(|name| name.trim().to_string())
                .filter(|name| !name.is_empty())
                .collect(),
            started: Instant::now(),
        }
    }

    /// Runs one part of the suite under a heading and counts it.
    pub fn part(&mut self, name: &str, run: impl FnOnce() -> Result<Counts, Trouble>) {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let counts = run().unwrap_or_else(|trouble| match trouble {
            Trouble::Missing(what, why) => Counts {
                skipped: vec![format!("{what}: {why}")],
                ..Counts::default()
            },
            Trouble::Broken(why) => {
                eprintln!("{why}");
                Counts::one(false)
            }
        });
        self.count(name, counts, started.elapsed());
    }

    fn count(&mut self, name: &str, mut counts: Counts, took: Duration) {
        let (refused, skipped): (Vec<_>, Vec<_>) = counts
            .skipped
            .drain(..)
            .partition(|skip| self.is_required(skip));
        counts.skipped = skipped;
        counts.failed += refused.len();
        for skip in &counts.skipped {
            println!("skipped  {name}: {skip}");
        }
        for skip in &refused {
            println!("FAILED   {name}: TANDEM_REQUIRE asks for it, but {skip}");
        }
        if counts.failed + counts.passed > 0 {
            let word = if counts.failed > 0 { "FAILED" } else { "ok" };
            println!("{word:<7}  {name}: {counts} ({:.1} s)", took.as_secs_f64());
        }
        if counts.failed > 0 {
            self.failures.push(format!("{name}: {counts}"));
        }
        self.total.add(&counts);
    }

    /// Whether `TANDEM_REQUIRE` names what a skip (`what: why`) is about. What runs
    /// in a browser has to be built and served first.
    fn is_required(&self, skip: &str) -> bool {
        let what = skip.split(':').next().unwrap_or_default().trim();
        let needs = match what {
            "node" | "rust" => "browser",
            other => other,
        };
        self.required
            .iter()
            .any(|name| name == what || name == needs)
    }

    /// Prints what failed and, last, the one line that says it all.
    pub fn finish(self) -> ExitCode {
        println!();
        for failure in &self.failures {
            println!("FAILED   {failure}");
        }
        println!("took {:.0} s", self.started.elapsed().as_secs_f64());
        println!("{}", self.total);
        ExitCode::from(u8::from(self.total.failed > 0))
    }
}

/// Counts what Rust's test harness printed (`cargo test -- --show-output`, or
/// wasm-bindgen's runner): ignored tests and tests that printed `skipped: ...` are
/// skips.
pub fn counts_from_libtest(output: &str) -> Counts {
    #[derive(PartialEq)]
    enum Reading {
        Passed,
        SaidSkipped,
        Failures,
    }
    let mut counts = Counts::default();
    let mut n_skipped_passes = 0;
    let mut reading = Reading::Passed;
    for line in output.lines() {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let number = |label: &str| {
                rest.split([';', '.'])
                    .find_map(|part| {
                        part.trim()
                            .strip_suffix(label)?
                            .trim()
                            .parse::<usize>()
                            .ok()
                    })
                    .unwrap_or(0)
            };
            counts.passed += number("passed");
            counts.failed += number("failed");
            reading = Reading::Passed;
        } else if line == "failures:" {
            reading = Reading::Failures;
        } else if let Some((name, verdict)) = verdict(line) {
            if verdict == "ignored" {
                counts.skipped.push(format!("ignored: {name}"));
            }
            reading = Reading::Passed;
        } else if line.starts_with("---- ") && reading == Reading::SaidSkipped {
            reading = Reading::Passed;
        } else if let Some(why) = line.trim().strip_prefix("skipped: ")
            && reading == Reading::Passed
        {
            counts.skipped.push(why.to_string());
            n_skipped_passes += 1;
            reading = Reading::SaidSkipped;
        }
    }
    // A test that says so returns, so the harness has counted it as passed.
    counts.passed = counts.passed.saturating_sub(n_skipped_passes);
    counts
}

/// The name and verdict of a `test NAME ... ok` or `... ignored, reason` line.
fn verdict(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name, verdict.split(',').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBTEST: &str = "
running 4 tests
test format::gguf::reads ... ok
test tokenizer::vectors ... ok
test gpu::slow ... ignored, takes minutes
test model::broken ... FAILED

successes:

---- tokenizer::vectors stdout ----
skipped: shared: shared/data is not here
skipped: shared: and once more

failures:

---- model::broken stdout ----
skipped: gpu: which did not save it

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/layers.rs
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn a_test_that_says_it_was_skipped_is_not_a_pass() {
        let counts = counts_from_libtest(LIBTEST);
        assert_eq!(counts.passed, 4);
        assert_eq!(counts.failed, 1);
        assert_eq!(
            counts.skipped,
            ["ignored: gpu::slow", "shared: shared/data is not here"]
        );
    }

    #[test]
    fn a_required_skip_is_a_failure() {
        let mut report = Report {
            required: vec!["gpu".to_string()],
            ..Report::new()
        };
        let skips = ["gpu: no adapter", "shared: none"];
        let counts = Counts {
            skipped: skips.map(str::to_string).to_vec(),
            ..Counts::default()
        };
        report.count("kernels", counts, Duration::ZERO);
        assert_eq!(report.total.failed, 1);
        assert_eq!(report.total.skipped, ["shared: none"]);
    }
}
