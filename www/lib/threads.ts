/**
 * The engine on several threads, where the page is cross-origin isolated and the build has
 * them. WebAssembly starts no thread by itself: workers are started here, on the engine's
 * module and memory, and then wait in Rust for work (`src/web/threads.rs`).
 *
 * Nothing has to be asked for: where anything is missing the engine of one thread is used.
 */
import * as one from "./wasm/tandem.js";
import { threaded } from "./wasm/threaded.js";

/** The engine's module, of either build. */
export type Glue = typeof one;

/** What this script's worker is called where it is a thread of the engine's. */
export const THREAD_NAME = "tandem-thread";

/** More threads than this wait for memory, not for each other. */
const MAX_THREADS = 8;
/** Each of the two models has its own. */
const N_MODELS = 2;

/** What a thread gets to begin with. */
interface Beginning {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** An engine that is ready for its first call. */
export interface Started {
  glue: Glue;
  /** Starts what threads there can be; answers how many a model can use. */
  startThreads?: () => Promise<number>;
}

/** Whether threads can share memory here, and wait for one another. */
function canShare(): boolean {
  return (
    self.crossOriginIsolated &&
    // A service worker may not wait.
    "DedicatedWorkerGlobalScope" in self &&
    typeof SharedArrayBuffer !== "undefined" &&
    // Without it a promise of Rust's needs a worker of its own to wait in.
    typeof (Atomics as { waitAsync?: unknown }).waitAsync === "function" &&
    navigator.hardwareConcurrency > 1
  );
}

/** Starts the engine: with threads where there can be any, or the one whose address is given. */
export async function startEngine(wasmUrl?: string): Promise<Started> {
  if (wasmUrl === undefined && threaded && canShare()) {
    try {
      const module = await compile(threaded.wasmUrl());
      const { memory } = await threaded.glue.default({ module_or_path: module });
      const glue = threaded.glue;
      return { glue, startThreads: () => startThreads(glue, { module, memory }) };
    } catch (error) {
      // The file was not copied to where it is looked for, or so much memory cannot be shared.
      console.warn("tandem-llm: no threads:", error);
    }
  }
  await one.default({ module_or_path: wasmUrl ?? new URL("./wasm/tandem_bg.wasm", import.meta.url) });
  return { glue: one };
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: HTTP status ${response.status}`);
  const streams = response.headers.get("content-type") === "application/wasm";
  return streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

let threads: Promise<number> | undefined;

function startThreads(glue: Glue, beginning: Beginning): Promise<number> {
  const n_threads = Math.min(navigator.hardwareConcurrency, MAX_THREADS);
  threads ??= startWorkers((n_threads - 1) * N_MODELS, beginning).then(async (n_workers) => {
    // They have said that they are about to wait.
    while (glue.n_idle_threads() < n_workers) await new Promise((resolve) => setTimeout(resolve, 1));
    return 1 + Math.floor(n_workers / N_MODELS);
  });
  return threads;
}

/** Answers how many of `n` there are. */
async function startWorkers(n: number, beginning: Beginning): Promise<number> {
  const started = await Promise.allSettled(Array.from({ length: n }, () => startWorker(beginning)));
  return started.filter(({ status }) => status === "fulfilled").length;
}

function startWorker(beginning: Beginning): Promise<void> {
  return new Promise((resolve, reject) => {
    // This very script: it knows by its name what it is.
    const worker = new Worker(self.location.href, { type: "module", name: THREAD_NAME });
    worker.onmessage = () => resolve();
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(beginning);
  });
}

/** What a thread does all its life. */
export function beThread(): void {
  self.onmessage = async ({ data }: MessageEvent<Beginning>) => {
    if (!threaded) throw new Error("this build has no threads");
    await threaded.glue.default({ module_or_path: data.module, memory: data.memory });
    self.postMessage("ready");
    threaded.glue.serve_as_thread();
  };
}
