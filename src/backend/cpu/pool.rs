//! Threads that share out pieces of a slice.
//!
//! Who computes a piece, and when, changes nothing about it: results do not depend on
//! how many threads there are. Where a thread cannot be had (WebAssembly without
//! threads, a process at its limit) there is simply one fewer.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a panic carries.
type Payload = Box<dyn std::any::Any + Send>;

/// What a thread is to do: serve a pool until it is over.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where threads come from.
#[derive(Debug, Clone, Copy)]
pub struct Spawn {
    /// Has a thread do a job; false where none can be had.
    pub start: fn(Job) -> bool,
    /// How often a thread that waits looks again before it sleeps: for some tens of
    /// microseconds, longer than the pause between most ops of a pass.
    pub looks: usize,
}

impl Spawn {
    /// From the operating system.
    pub const SYSTEM: Self = Self {
        start: |job| {
            let builder = std::thread::Builder::new().name("tandem-cpu".to_string());
            builder.spawn(job).is_ok()
        },
        looks: 2_000,
    };
}

/// Threads that wait for work, besides the one that asks for it.
pub struct Pool {
    shared: Arc<Shared>,
    n_threads: usize,
}

thread_local! {
    /// The pool that this thread serves.
    static SERVED: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
    /// Whether it is counted among those at that pool's work.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Takes a thread out of the work that it is at, and has whoever waits for it panic in its
/// place: for a thread that is about to end without unwinding, as in WebAssembly.
pub fn abandon_work(why: String) {
    let Some(shared) = SERVED.take() else { return };
    if !AT_WORK.take() {
        return;
    }
    let mut state = shared.lock();
    state.abandoned = Some(why);
    shared.leave(&state);
}

/// A closure of the thread that waits for it to be done.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: what it points to is `Sync`, and `Pool::run` keeps it alive until no thread
// uses it.
unsafe impl Send for Work {}

#[derive(Default)]
struct State {
    /// What to do; gone when there is nothing left to join.
    work: Option<Work>,
    /// How many threads sleep.
    n_asleep: usize,
    /// Of a thread that panicked at the work at hand.
    panic: Option<Payload>,
    /// Why a thread is gone, for good.
    abandoned: Option<String>,
    /// Whoever gave the work sleeps until it is done.
    is_awaited: bool,
    /// No more work will come.
    is_over: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Counts works. As `n_busy`, it changes under the lock and is read without it by those
    /// who look.
    turn: AtomicUsize,
    /// How many threads are at the work.
    n_busy: AtomicUsize,
    has_work: Condvar,
    is_done: Condvar,
    /// As [`Spawn::looks`].
    looks: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counters that are still right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a while, until `holds`.
    fn look(&self, holds: impl Fn() -> bool) -> bool {
        for _ in 0..self.looks {
            if holds() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// One fewer is at the work.
    fn leave(&self, state: &MutexGuard<'_, State>) {
        // Release: who sees that all are done sees what they did.
        let was_last = self.n_busy.fetch_sub(1, Ordering::Release) == 1;
        if was_last && state.is_awaited {
            self.is_done.notify_all();
        }
    }

    /// What a worker does until the pool is over.
    fn serve(self: &Arc<Self>) {
        SERVED.set(Some(Arc::clone(self)));
        self.look_for_work();
        SERVED.set(None);
    }

    fn look_for_work(&self) {
        let mut seen = 0;
        loop {
            self.look(|| self.turn.load(Ordering::Acquire) != seen);
            let mut state = self.lock();
            while self.turn.load(Ordering::Acquire) == seen && !state.is_over {
                state.n_asleep += 1;
                state = (self.has_work.wait(state)).unwrap_or_else(PoisonError::into_inner);
                state.n_asleep -= 1;
            }
            if state.is_over {
                return;
            }
            seen = self.turn.load(Ordering::Acquire);
            let Some(work) = state.work else { continue };
            self.n_busy.fetch_add(1, Ordering::Relaxed);
            AT_WORK.set(true);
            drop(state);
            // A panic must not leave the count behind, or whoever waits would wait forever.
            // SAFETY: `run` does not return while `n_busy` counts this thread.
            let attempt = catch_unwind(AssertUnwindSafe(|| unsafe { (*work.0)() }));
            let mut state = self.lock();
            AT_WORK.set(false);
            if let Err(payload) = attempt {
                state.panic = Some(payload);
            }
            self.leave(&state);
        }
    }
}

/// Takes the work back and waits for those who are at it, also when the caller panics.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Nobody joins any more.
        self.0.lock().work = None;
        let is_done = || self.0.n_busy.load(Ordering::Acquire) == 0;
        // Mostly the others are done as soon as this thread is.
        if self.0.look(is_done) {
            return;
        }
        let mut state = self.0.lock();
        state.is_awaited = true;
        while !is_done() {
            state = (self.0.is_done.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_awaited = false;
    }
}

impl Pool {
    /// Of `n_threads`, this one included; 0 counts as 1.
    pub fn new(n_threads: usize, spawn: Spawn) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            turn: AtomicUsize::new(0),
            n_busy: AtomicUsize::new(0),
            has_work: Condvar::new(),
            is_done: Condvar::new(),
            looks: spawn.looks,
        });
        let serves = |_: &usize| {
            let shared = Arc::clone(&shared);
            (spawn.start)(Box::new(move || shared.serve()))
        };
        let n_workers = (1..n_threads).take_while(serves).count();
        Self {
            n_threads: n_workers + 1,
            shared,
        }
    }

    /// How many threads there are, the caller's included.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// How many of `n` units, of so many products each, a piece had best hold: some
    /// pieces for each thread, so that none waits long for another, and none so small
    /// that handing it over takes longer than doing it.
    pub fn piece(&self, n: usize, unit_products: usize) -> usize {
        const MIN_PRODUCTS: usize = 1 << 15;
        let fair = n.div_ceil(4 * self.n_threads);
        fair.max(MIN_PRODUCTS.div_ceil(unit_products.max(1)))
    }

    /// Calls `f` with every piece of `n` elements of `data` (the last may be shorter)
    /// and its number, on all threads; returns when all are done.
    ///
    /// # Panics
    /// Where `f` does, on whichever thread.
    pub fn chunks<T: Send>(
        &mut self,
        data: &mut [T],
        n: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let n = n.max(1);
        let n_chunks = data.len().div_ceil(n);
        if self.n_threads == 1 || n_chunks <= 1 {
            data.chunks_mut(n).enumerate().for_each(|(i, c)| f(i, c));
            return;
        }
        let next = AtomicUsize::new(0);
        let base = Base(data.as_mut_ptr());
        let len = data.len();
        let work = || {
            let base = &base;
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= n_chunks {
                    return;
                }
                let start = i * n;
                // SAFETY: the chunk is inside `data`, which this call borrows alone; each
                // `i` is drawn once, so no two chunks overlap.
                let chunk = unsafe {
                    std::slice::from_raw_parts_mut(base.0.add(start), n.min(len - start))
                };
                f(i, chunk);
            }
        };
        self.run(&work);
    }

    /// Calls `work` here and on every thread that comes in time. `&mut self`: one work
    /// at a time, and none from within another, which would wait for itself.
    fn run(&mut self, work: &(dyn Fn() + Sync)) {
        // SAFETY: the lifetime alone changes. `Running` takes the pointer back and waits
        // for all who have it before this function, and so the borrow, ends.
        let erased = unsafe {
            std::mem::transmute::<*const (dyn Fn() + Sync), *const (dyn Fn() + Sync + 'static)>(
                work,
            )
        };
        let mut state = self.shared.lock();
        // One is left where this thread panicked at the last work too.
        state.panic = None;
        state.work = Some(Work(erased));
        self.shared.turn.fetch_add(1, Ordering::Release);
        let wake = state.n_asleep > 0;
        drop(state);
        if wake {
            self.shared.has_work.notify_all();
        }
        let running = Running(&self.shared);
        work();
        drop(running);
        let mut state = self.shared.lock();
        if let Some(why) = state.abandoned.take() {
            drop(state);
            // With a message of its own: where nothing unwinds, the hook is all that hears of it.
            panic!("a thread of the engine's is gone: {why}");
        }
        let panic = state.panic.take();
        drop(state);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        // Those who spin look at the lock next; those who sleep are woken. Nobody waits for
        // them: what they share is theirs as well.
        self.shared.turn.fetch_add(1, Ordering::Release);
        self.shared.has_work.notify_all();
    }
}

/// Where a slice begins, for threads that take different parts of it.
struct Base<T>(*mut T);

// SAFETY: each thread makes references to elements of its own only, and `T` is `Send`.
unsafe impl<T: Send> Sync for Base<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_however_many_threads() {
        for n_threads in [0, 1, 2, 5] {
            let mut pool = Pool::new(n_threads, Spawn::SYSTEM);
            for (len, n) in [(0, 4), (1, 4), (4, 4), (1000, 3), (1000, 0), (7, 100)] {
                for _ in 0..50 {
                    let mut data: Vec<usize> = vec![0; len];
                    pool.chunks(&mut data, n, |i, chunk| {
                        for (j, x) in chunk.iter_mut().enumerate() {
                            *x += i * n.max(1) + j + 1;
                        }
                    });
                    let want: Vec<usize> = (1..=len).collect();
                    assert_eq!(data, want, "{n_threads} threads, pieces of {n}");
                }
            }
        }
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_goes_on() {
        let mut pool = Pool::new(3, Spawn::SYSTEM);
        for culprit in 0..64 {
            let mut data = vec![0u32; 64];
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                pool.chunks(&mut data, 1, |i, _| {
                    // Long enough for every thread to draw some.
                    std::thread::yield_now();
                    assert_ne!(i, culprit);
                });
            }));
            assert!(attempt.is_err(), "piece {culprit}");
            pool.chunks(&mut data, 1, |i, chunk| chunk[0] = i as u32);
            assert_eq!(data, (0..64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn threads_that_cannot_be_had_are_done_without() {
        use std::sync::atomic::AtomicUsize;
        static LEFT: AtomicUsize = AtomicUsize::new(1);
        let start = |job: Job| {
            let left =
                LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            left.is_ok() && (Spawn::SYSTEM.start)(job)
        };
        let one = Spawn {
            start,
            ..Spawn::SYSTEM
        };
        assert_eq!(Pool::new(5, one).n_threads, 2);
        let mut alone = Pool::new(5, one);
        assert_eq!(alone.n_threads, 1);
        let mut data = vec![0_u32; 64];
        alone.chunks(&mut data, 1, |i, chunk| chunk[0] = i as u32);
        assert_eq!(data, (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn a_pool_that_is_over_gives_its_threads_back() {
        static N_ALIVE: AtomicUsize = AtomicUsize::new(0);
        let counted = |job: Job| {
            N_ALIVE.fetch_add(1, Ordering::SeqCst);
            (Spawn::SYSTEM.start)(Box::new(move || {
                job();
                N_ALIVE.fetch_sub(1, Ordering::SeqCst);
            }))
        };
        for _ in 0..3 {
            let spawn = Spawn {
                start: counted,
                ..Spawn::SYSTEM
            };
            let mut pool = Pool::new(4, spawn);
            pool.chunks(&mut [0_u32; 64], 1, |i, chunk| chunk[0] = i as u32);
            drop(pool);
        }
        let start = std::time::Instant::now();
        while N_ALIVE.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed().as_secs() < 30, "a thread serves nobody");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_gives_up_hands_its_panic_to_who_waits() {
        let mut pool = Pool::new(2, Spawn::SYSTEM);
        let here = std::thread::current().id();
        let mut caught = false;
        // The other thread may be late for the work; then there is none to give up.
        for _ in 0..1000 {
            let mut data = vec![0_u32; 64];
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                pool.chunks(&mut data, 1, |_, _| {
                    if std::thread::current().id() != here {
                        abandon_work("out of luck".to_string());
                        // As good as ended: it is never counted again.
                        loop {
                            std::thread::park();
                        }
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                });
            }));
            if let Err(payload) = attempt {
                let why = payload.downcast_ref::<String>().unwrap();
                assert_eq!(why, "a thread of the engine's is gone: out of luck");
                caught = true;
                break;
            }
        }
        assert!(caught);
    }
}
