//! Mutational fuzzing inside `cargo test`, on stable Rust: the same seed gives the
//! same inputs, every run.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: fuzz::CountingAllocator = fuzz::CountingAllocator;
//!
//! fuzz::run("name", &corpus, |input| { /* must not panic */ });
//! ```
//! Without more, a run is [`DEFAULT_EXECUTIONS`] inputs; `TANDEM_FUZZ_SECONDS` makes it
//! run for that long instead, `TANDEM_FUZZ_SEED` gives it other inputs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Inputs of a run that is part of the ordinary suite: about a second.
pub const DEFAULT_EXECUTIONS: u64 = 20_000;

/// A small generator of numbers (xorshift64*, Vigna 2016): its quality does not matter,
/// that it is the same everywhere does.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`; zero where `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize).checked_rem(n).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Numbers at which lengths and offsets go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    31,
    255,
    65_535,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 31,
    u64::MAX,
];

/// Bytes that mean something to JSON, to templates or to UTF-8.
const SNIPPETS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"\\ud800",
    b"{{",
    b"{%",
    b"\xff",
    b"\xf0\x9f\x98\x80",
];

/// Changes `input` in one to eight places; `corpus` gives parts to splice in.
pub fn mutate(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    for _ in 0..1 + random.below(8) {
        let at = random.below(input.len() + 1);
        let rest = input.len() - at;
        match random.below(9) {
            0 if rest > 0 => input[at] ^= 1 << random.below(8),
            1 if rest > 0 => input[at] = random.next() as u8,
            2 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                let n = random.pick(&[&1usize, &2, &4, &8]).min(&rest);
                input[at..at + n].copy_from_slice(&number[..*n]);
            }
            3 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_string();
                insert(input, at, number.as_bytes());
            }
            4 => insert(input, at, SNIPPETS[random.below(SNIPPETS.len())]),
            5 => {
                let n = random.below(rest.min(32) + 1);
                input.drain(at..at + n);
            }
            6 => {
                let n = random.below(rest.min(64) + 1);
                let copy = input[at..at + n].to_vec();
                for _ in 0..1 + random.below(4) {
                    insert(input, at, &copy);
                }
            }
            7 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let n = random.below((other.len() - from).min(128) + 1);
                insert(input, at, &other[from..from + n]);
            }
            8 if random.below(4) == 0 => input.truncate(at),
            _ => {}
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Feeds `test` the corpus and what mutation makes of it, and says how many inputs
/// that were. An input on which `test` panics is printed, in hexadecimal, and the
/// panic goes on.
pub fn run(name: &str, corpus: &[Vec<u8>], mut test: impl FnMut(&[u8])) -> u64 {
    assert!(!corpus.is_empty(), "{name}: a corpus to begin with");
    let number = |key: &str| {
        std::env::var(key)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("TANDEM_FUZZ_SECONDS").map(Duration::from_secs);
    let mut random = Random::new(number("TANDEM_FUZZ_SEED").unwrap_or(1));
    let start = Instant::now();
    let mut executions = 0;
    let mut execute = |input: &[u8]| {
        executions += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(input))) {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{name}: input {executions} failed: {hex}");
            std::panic::resume_unwind(panic);
        }
        match seconds {
            Some(seconds) => executions % 256 != 0 || start.elapsed() < seconds,
            None => executions < DEFAULT_EXECUTIONS,
        }
    };
    for input in corpus {
        execute(input);
    }
    loop {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut random, &mut input, corpus);
        if !execute(&input) {
            break;
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    eprintln!("{name}: {executions} inputs in {elapsed:.1} s");
    executions
}

thread_local! {
    static IN_USE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread has in use. A test binary that
/// wants [`peak_bytes`] makes it the global allocator.
pub struct CountingAllocator;

fn count(grown: usize, freed: usize) {
    // Gone while the thread ends: what is freed then is not measured.
    let _ = IN_USE_BYTES.try_with(|in_use| {
        // Another thread's allocation may be freed here: never below zero.
        let now = (in_use.get() + grown).saturating_sub(freed);
        in_use.set(now);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing
// (the thread-locals are constants without destructors).
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // While it moves, both exist.
        count(new_size, 0);
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// How many bytes `f` had in use at most, beyond what was in use before. Zero where
/// [`CountingAllocator`] is not the global allocator.
pub fn peak_bytes<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = IN_USE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = f();
    (result, PEAK_BYTES.get() - before)
}
