/** Libraries that few replies need: fetched when the first one does. Reading one from an
 * effect runs the effect again when it has come. */
import type { HLJSApi } from "highlight.js";
import type katex from "katex";

class Later<T> {
  #loaded = $state.raw<T>();
  #asked = false;
  readonly #load: () => Promise<T>;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  /** It, where it is there; otherwise it will be. */
  get(): T | undefined {
    if (!this.#asked) {
      this.#asked = true;
      this.#load().then(
        (loaded) => (this.#loaded = loaded),
        // Offline before it was ever fetched: code stays plain, formulas stay source.
        () => (this.#asked = false),
      );
    }
    return this.#loaded;
  }
}

export const highlighter = new Later<HLJSApi>(async () => (await import("./languages.ts")).default);
export const mathematician = new Later<typeof katex>(async () => (await import("./mathematics.ts")).default);
