//! Threads of the engine's: workers that the page's side started on this module and memory
//! (`www/lib/threads.ts`), because WebAssembly can start none. They wait here for jobs, and
//! the CPU backend's pools are what gives them any.
//!
//! Only a build with atomics has a memory to share. In any other nobody calls
//! [`serve_as_thread`], so that none is idle and [`spawn`] always says no.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wasm_bindgen::prelude::wasm_bindgen;

use crate::backend::cpu::Job;

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

/// Gives a job to a thread that has none; says whether there was any.
pub fn spawn(job: Job) -> bool {
    let mut jobs = lock();
    if jobs.waiting.len() >= jobs.n_idle {
        return false;
    }
    jobs.waiting.push(job);
    drop(jobs);
    HAS_JOB.notify_one();
    true
}

/// What a thread does all its life: waits for a job, does it, and waits for the next.
#[wasm_bindgen]
pub fn serve_as_thread() {
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

/// How many threads wait for a job.
#[wasm_bindgen]
pub fn n_idle_threads() -> usize {
    lock().n_idle
}
