/**
 * The engine on several threads, where the page is cross-origin isolated and the build has
 * them. WebAssembly starts no thread by itself: workers are started here, on the engine's
 * module and memory, and then wait in Rust for work (`src/web/threads.rs`).
 *
 * Nothing has to be asked for: where anything is missing, or the GPU computes, the engine of
 * one thread is used.
 */
import type { LoadRequest } from "./protocol.ts";
import { threaded } from "./threaded.js";
import * as one from "./wasm/tandem.js";

/** The engine's module, of either build. */
export type Glue = typeof one;

/** What this script's worker is called where it is a thread of the engine's. */
export const THREAD_NAME = "tandem-thread";

/** More threads than this wait for memory, not for each other. */
const MAX_THREADS = 8;
/** Up to so many cores are all taken; of more, which are often two to a core or slow ones,
 * half: all wait for the last. */
const ALL_UP_TO = 4;
/** A worker that has not started by then is done without. */
const START_TIMEOUT_MS = 10_000;

/** How much memory may grow to, in pages of 64 KiB: what 32 bits address, or what a browser
 * is willing to set aside (all of it, at once, where memory is shared). */
const MAX_PAGES = [65536, 32768, 16384];

/** What a thread gets to begin with. */
interface Beginning {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** What a thread says once: that it is about to wait for work, or why it cannot. */
interface Begun {
  failed?: string;
}

/** An engine that is ready for its first call. */
export interface Started {
  glue: Glue;
  /** Starts what threads there can be for so many models; answers how many each can use. */
  startThreads?: (n_models: number) => Promise<number>;
}

/** How the processor's threads are to be used. */
type Wish = Pick<LoadRequest, "threads" | "wasmUrl"> & Partial<Pick<LoadRequest, "options">>;

/** Starts the engine: with threads where they are of use and there can be any. */
export async function startEngine({ options, threads, wasmUrl }: Wish): Promise<Started> {
  const n_threads = Math.min(threads ?? MAX_THREADS, threads === undefined ? usual() : navigator.hardwareConcurrency);
  if (threaded && wasmUrl === undefined && n_threads > 1 && canShare() && (await processorComputes(options?.device))) {
    try {
      const { glue } = threaded;
      const beginning = { module: await compile(threaded.wasmUrl()), memory: sharedMemory(threaded.initialPages) };
      await threaded.start(beginning.module, beginning.memory);
      return { glue, startThreads: (n_models) => startThreads(glue, beginning, n_threads, n_models) };
    } catch (error) {
      // The file was not copied to where it is looked for, or memory cannot be shared.
      console.warn("tandem-llm: no threads:", error);
    }
  }
  await one.default({ module_or_path: wasmUrl ?? new URL("./wasm/tandem_bg.wasm", import.meta.url) });
  return { glue: one };
}

/** How many threads are used where nobody says. */
function usual(): number {
  const n = navigator.hardwareConcurrency;
  return Math.min(n <= ALL_UP_TO ? n : Math.max(ALL_UP_TO, n >> 1), MAX_THREADS);
}

/** Whether threads can share memory here, and wait for one another. */
function canShare(): boolean {
  return (
    self.crossOriginIsolated &&
    // A service worker may not wait.
    "DedicatedWorkerGlobalScope" in self &&
    typeof SharedArrayBuffer !== "undefined" &&
    // Without it a promise of Rust's needs a worker of its own to wait in.
    typeof (Atomics as { waitAsync?: unknown }).waitAsync === "function"
  );
}

/** Whether the engine will say `cpu`, by its own rule (`open_backend` of `src/web/engine.rs`):
 * `auto` takes a GPU unless it is an emulated one. The build with threads knows no GPU. */
async function processorComputes(device = "gpu"): Promise<boolean> {
  if (device !== "auto") return device === "cpu";
  const { gpu } = navigator as { gpu?: GPU };
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  return adapter?.info.isFallbackAdapter ?? true;
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: HTTP status ${response.status}`);
  const streams = response.headers.get("content-type") === "application/wasm";
  return streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

function sharedMemory(initial: number): WebAssembly.Memory {
  let refused: unknown;
  for (const maximum of MAX_PAGES) {
    try {
      return new WebAssembly.Memory({ initial, maximum, shared: true });
    } catch (error) {
      refused = error;
    }
  }
  throw refused;
}

/** Workers that have been started. */
let n_started = 0;

/** Each model has threads of its own: models compute in turns, and those of the one that
 * waits sleep. */
async function startThreads(glue: Glue, beginning: Beginning, n_threads: number, n_models: number): Promise<number> {
  const n_wanted = (n_threads - 1) * n_models;
  const more = Array.from({ length: Math.max(0, n_wanted - n_started) }, () => startWorker(beginning));
  for (const { status } of await Promise.allSettled(more)) if (status === "fulfilled") n_started += 1;
  // They have said that they are about to wait, or are about to be through with a model that
  // is gone.
  const until = performance.now() + 1000;
  while (glue.n_idle_threads() < Math.min(n_started, n_wanted) && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return 1 + Math.min(n_threads - 1, Math.floor(glue.n_idle_threads() / n_models));
}

function startWorker(beginning: Beginning): Promise<void> {
  return new Promise((resolve, reject) => {
    // This very script: it knows by its name what it is.
    const worker = new Worker(self.location.href, { type: "module", name: THREAD_NAME });
    const give_up = (why: string) => {
      clearTimeout(timer);
      worker.terminate();
      reject(new Error(why));
    };
    const timer = setTimeout(() => give_up("a thread did not start in time"), START_TIMEOUT_MS);
    worker.onmessage = ({ data }: MessageEvent<Begun>) => {
      if (data.failed !== undefined) {
        give_up(data.failed);
        return;
      }
      clearTimeout(timer);
      // What happens to it from here on, whoever waits for it hears in Rust.
      worker.onerror = (event) => event.preventDefault();
      resolve();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      give_up(event.message);
    };
    worker.postMessage(beginning);
  });
}

/** What a thread does all its life. */
export function beThread(): void {
  self.onmessage = ({ data }: MessageEvent<Beginning>) => void serve(data);
}

async function serve({ module, memory }: Beginning): Promise<void> {
  try {
    if (!threaded) throw new Error("this build has no threads");
    await threaded.start(module, memory);
  } catch (error) {
    self.postMessage({ failed: String(error) } satisfies Begun);
    return;
  }
  self.postMessage({} satisfies Begun);
  try {
    threaded.glue.serve_as_thread();
  } catch (error) {
    // A trap: nobody would hear of it, and the engine would wait for this thread forever.
    threaded.glue.give_up_as_thread(String(error));
  }
}
