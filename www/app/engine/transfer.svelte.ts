import type { LoadProgress } from "tandem-llm";

/** A load in bytes: how far, how fast, how long still. */
export class Transfer {
  progress = $state.raw<LoadProgress>();
  bytes_per_s = $state<number>();
  readonly left_s = $derived(
    this.progress && this.bytes_per_s
      ? (this.progress.total_bytes - this.progress.loaded_bytes) / this.bytes_per_s
      : undefined,
  );
  readonly share = $derived(
    this.progress && this.progress.total_bytes > 0 ? this.progress.loaded_bytes / this.progress.total_bytes : undefined,
  );
  #samples: { at: number; bytes: number }[] = [];

  heard(progress: LoadProgress): void {
    const now = performance.now();
    const last = this.#samples.at(-1);
    this.#samples.push({ at: now, bytes: progress.loaded_bytes });
    // The speed of the last five seconds, told a few times a second.
    while ((this.#samples[0]?.at ?? now) < now - 5_000) this.#samples.shift();
    const done = progress.loaded_bytes >= progress.total_bytes;
    if (!done && last && Math.floor(last.at / 100) === Math.floor(now / 100)) return;
    this.progress = progress;
    const first = this.#samples[0];
    if (first && now - first.at > 500) {
      this.bytes_per_s = ((progress.loaded_bytes - first.bytes) / (now - first.at)) * 1000;
    }
  }
}
