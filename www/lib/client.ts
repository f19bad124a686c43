/** The page's end of the protocol: one worker, and the calls that wait for it. */
import { fromPlain, TandemError } from "./errors.ts";
import type { CallName, Calls, FromWorker, ToWorker } from "./protocol.ts";

interface Waiting {
  event: (event: never) => void;
  reply: (reply: never) => void;
  fail: (error: TandemError) => void;
}

export class Client {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next_id = 0;
  readonly #onClosed: (why: TandemError) => void;
  /** Why the worker is gone, once it is. */
  #closed: TandemError | undefined;

  /** `onClosed` hears when the worker goes, whoever ended it. */
  constructor(onClosed: (why: TandemError) => void) {
    this.#onClosed = onClosed;
    // Bundlers recognise exactly this expression.
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      this.close(new TandemError("internal", event.message || "the engine's worker did not start"));
    };
  }

  /** Calls the worker. Aborting `signal` asks it to stop; it then answers with an
   * `aborted` error or with what it has. */
  call<N extends CallName>(
    call: N,
    request: Calls[N]["request"],
    onEvent?: (event: Calls[N]["event"]) => void,
    signal?: AbortSignal,
  ): Promise<Calls[N]["reply"]> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(new TandemError("aborted", "stopped before it began"));
    const id = this.#next_id++;
    const abort = () => this.#send({ id, abort: true });
    signal?.addEventListener("abort", abort);
    const answer = new Promise<Calls[N]["reply"]>((resolve, reject) => {
      const waiting: Waiting = {
        event: (event) => onEvent?.(event),
        reply: resolve,
        fail: reject,
      };
      this.#waiting.set(id, waiting);
    });
    this.#send({ id, call, request } as ToWorker);
    return answer.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Ends the worker, and with it everything it holds. */
  close(why = new TandemError("aborted", "the engine was disposed of")): void {
    if (this.#closed) return;
    this.#closed = why;
    this.#worker.terminate();
    for (const waiting of this.#waiting.values()) waiting.fail(why);
    this.#waiting.clear();
    this.#onClosed(why);
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    if ("fatal" in message) {
      // The wasm instance is in an unknown state: nothing of it is used again.
      this.close(fromPlain(message.fatal));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if ("event" in message) {
      waiting.event(message.event as never);
      return;
    }
    this.#waiting.delete(message.id);
    if ("reply" in message) waiting.reply(message.reply as never);
    else waiting.fail(fromPlain(message.error));
  }
}
