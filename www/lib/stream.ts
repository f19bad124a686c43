import { TandemError } from "./errors.ts";

interface Piece<P> {
  piece: P;
  taken: () => void;
}

/**
 * A reply as it is made. Iterate over it, once:
 *
 * ```ts
 * for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
 * ```
 *
 * The engine does not run far ahead of whoever reads: a reader that pauses pauses it,
 * and the requests behind this one. Leaving the loop stops the reply. Stopped from
 * elsewhere (`abort`, or the signal given to `create`), the loop throws a `TandemError`
 * whose `code` is `aborted`.
 *
 * @typeParam P a piece of the reply
 * @typeParam W the whole reply
 */
export class Stream<P, W> implements AsyncIterable<P> {
  readonly #pieces: Piece<P>[] = [];
  readonly #controller: AbortController;
  #whole: W | undefined;
  #error: TandemError | undefined;
  #ended = false;
  #wake: () => void = () => undefined;

  /** @internal */
  constructor(controller: AbortController) {
    this.#controller = controller;
  }

  /** Stops the reply. */
  abort(): void {
    this.#controller.abort();
  }

  /** The whole reply, put together by the engine. Reads what has not been read. */
  async final(): Promise<W> {
    while (!(await this.#next()).done);
    if (this.#whole === undefined) throw new TandemError("aborted", "stopped");
    return this.#whole;
  }

  [Symbol.asyncIterator](): AsyncIterator<P, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.#controller.abort();
        this.#pieces.length = 0;
        this.#ended = true;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** @internal */
  push(piece: P, taken: () => void): void {
    this.#pieces.push({ piece, taken });
    this.#wake();
  }

  /** @internal */
  end(whole: W | undefined, error?: TandemError): void {
    this.#whole = whole;
    this.#error = error;
    this.#ended = true;
    this.#wake();
  }

  async #next(): Promise<IteratorResult<P, undefined>> {
    for (;;) {
      const first = this.#pieces.shift();
      if (first) {
        first.taken();
        return { done: false, value: first.piece };
      }
      if (this.#error) {
        const error = this.#error;
        // Told once; after that the stream is over.
        this.#error = undefined;
        throw error;
      }
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
