//! Threads of the engine's: workers that the page's side started on this module and memory
//! (`www/lib/threads.ts`), because WebAssembly can start none. They wait here for jobs, and
//! the CPU backend's pools are what gives them any.
//!
//! Only a build with atomics has a memory to share. In any other nobody calls
//! [`serve_as_thread`], so that none is idle and [`SPAWN`] has nobody to give a job to.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wasm_bindgen::prelude::wasm_bindgen;

use crate::backend::cpu::{Job, Pool, Spawn, abandon_work};

#[derive(Default)]
struct Jobs {
    n_idle: usize,
    waiting: Vec<Job>,
}

static JOBS: Mutex<Jobs> = Mutex::new(Jobs {
    n_idle: 0,
    waiting: Vec::new(),
});
static HAS_JOB: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Jobs> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the threads that the page handed over. To look costs a nanosecond here (there is no
/// instruction to pause with), and to be woken tens of microseconds.
pub const SPAWN: Spawn = Spawn {
    start: give,
    looks: 30_000,
};

/// Gives a job to a thread that has none; says whether there was any.
fn give(job: Job) -> bool {
    let mut jobs = lock();
    if jobs.waiting.len() >= jobs.n_idle {
        return false;
    }
    jobs.waiting.push(job);
    drop(jobs);
    HAS_JOB.notify_one();
    true
}

thread_local! {
    static IS_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// What a thread does all its life: waits for a job, does it, and waits for the next.
#[wasm_bindgen]
pub fn serve_as_thread() {
    IS_THREAD.set(true);
    loop {
        let mut jobs = lock();
        jobs.n_idle += 1;
        let job = loop {
            if let Some(job) = jobs.waiting.pop() {
                break job;
            }
            jobs = HAS_JOB.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        };
        jobs.n_idle -= 1;
        drop(jobs);
        job();
    }
}

/// Tells whoever waits for this thread's part of some work that it will not be done: the last
/// thing that a thread does after a trap.
#[wasm_bindgen]
pub fn give_up_as_thread(why: String) {
    abandon_work(why);
}

/// How many threads wait for a job.
#[wasm_bindgen]
pub fn n_idle_threads() -> usize {
    lock().n_idle
}

/// Panics on a thread while this one waits for it: there to test that whoever waits for this
/// one is told.
#[wasm_bindgen]
pub fn crash_on_thread() {
    let mut pool = Pool::new(2, SPAWN);
    let has_come = AtomicBool::new(pool.n_threads() == 1);
    pool.chunks(&mut [(); 2], 1, |_, _| {
        if IS_THREAD.get() {
            has_come.store(true, Ordering::Relaxed);
            panic!("crashed on request, on a thread");
        }
        while !has_come.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
}
