/** Loads models from wherever they are, and tells how far it has come. */
import type { LoadRequest } from "./protocol.ts";
import { PATIENCE } from "./storage/download.ts";
import { Files } from "./storage/files.ts";
import { openModel } from "./storage/folder.ts";
import type { Started } from "./threads.ts";
import type { LoadProgress, ReadProgress } from "./types.ts";
import type { Engine } from "./wasm/tandem.js";

/** Files that change while they are read are read again, so often. */
const MAX_ATTEMPTS = 3;

export async function loadModels(
  { glue, startThreads }: Started,
  { target, draft, options, storage }: LoadRequest,
  signal: AbortSignal,
  tell: (progress: LoadProgress) => void,
): Promise<{ engine: Engine; files: Files }> {
  for (let attempt = 1; ; attempt += 1) {
    const progress = new Progress(tell);
    const files = new Files({
      patience: {
        stall_ms: storage.stallMs ?? PATIENCE.stall_ms,
        retries: storage.retries ?? PATIENCE.retries,
        backoff_ms: storage.backoffMs ?? PATIENCE.backoff_ms,
      },
      store: storage.keep ?? true,
      range_bytes: Math.max(1, Math.floor(storage.rangeBytes ?? 8 * 2 ** 20)),
      n_parallel: Math.max(1, Math.floor(storage.parallel ?? 3)),
      signal,
      onFile: (file, size_bytes) => progress.opened(file, size_bytes),
      onBytes: (file, n_bytes, from_disk) => progress.came(file, n_bytes, from_disk),
      onUnstored: () => (progress.stored = false),
    });
    let engine: Engine | undefined;
    try {
      const read = (told: ReadProgress) => progress.read(told);
      const threads = startThreads && (() => startThreads(draft ? 2 : 1));
      const from = draft && (await openModel(draft, files));
      engine = await glue.Engine.load(await openModel(target, files), from, options, read, threads);
      // What was loaded while it came is only good if all of it turned out right.
      await files.finish();
      return { engine, files };
    } catch (error) {
      engine?.free();
      files.close();
      if (!files.changed || attempt === MAX_ATTEMPTS || signal.aborted) throw files.changed ?? error;
    }
  }
}

/** The page is told no oftener. */
const TELL_EVERY_MS = 100;
/** Over how long a rate is taken. */
const RATE_OVER_MS = 8_000;

class Progress {
  stored = true;
  readonly #tell: (progress: LoadProgress) => void;
  #total_bytes = 0;
  #loaded_bytes = 0;
  /** When how many bytes had come from the network. */
  #samples: { at: number; bytes: number }[] = [];
  #network_bytes = 0;
  #told_at = -Infinity;

  constructor(tell: (progress: LoadProgress) => void) {
    this.#tell = tell;
  }

  opened(file: string, size_bytes: number): void {
    this.#total_bytes += size_bytes;
    this.#say(file);
  }

  came(file: string, n_bytes: number, from_disk: boolean): void {
    this.#loaded_bytes = Math.min(this.#loaded_bytes + n_bytes, this.#total_bytes);
    if (!from_disk) this.#network_bytes += n_bytes;
    this.#say(file);
  }

  /** The engine has read so much: news where nothing is being downloaded. */
  read(told: ReadProgress): void {
    if (this.#loaded_bytes < this.#total_bytes) return;
    this.#tell({ ...told, phase: "read", seconds_left: null, stored: this.stored });
  }

  #say(file: string): void {
    const now = performance.now();
    const done = this.#loaded_bytes >= this.#total_bytes;
    if (now - this.#told_at < TELL_EVERY_MS && !done) return;
    this.#told_at = now;
    this.#samples.push({ at: now, bytes: this.#network_bytes });
    this.#samples = this.#samples.filter(({ at }) => now - at < RATE_OVER_MS);
    const first = this.#samples[0];
    const rate = first && now > first.at ? (this.#network_bytes - first.bytes) / (now - first.at) : 0;
    const left = this.#total_bytes - this.#loaded_bytes;
    this.#tell({
      phase: "download",
      loaded_bytes: this.#loaded_bytes,
      total_bytes: this.#total_bytes,
      file: file.split("/").at(-1) ?? file,
      seconds_left: rate > 0 ? left / rate / 1000 : null,
      stored: this.stored,
    });
  }
}
