/** The page's end of the protocol: one worker, and the calls that wait for it. */
import { fromPlain, TandemError } from "./errors.ts";
import type { CallName, Calls, FromWorker, ToWorker } from "./protocol.ts";

interface Waiting {
  event: (event: never) => void;
  reply: (reply: never) => void;
  fail: (error: TandemError) => void;
}

/** Hears of a call's events. `taken` is to be called once for each when it has been
 * dealt with: the worker waits for readers that fall behind. */
export type OnEvent<E> = (event: E, taken: () => void) => void;

/** Whoever answers calls: the worker, or a server elsewhere. */
export interface Transport {
  call<N extends CallName>(
    call: N,
    request: Calls[N]["request"],
    onEvent?: OnEvent<Calls[N]["event"]>,
    signal?: AbortSignal | null,
  ): Promise<Calls[N]["reply"]>;
  close(why?: TandemError): void;
}

/** What carries messages to whoever answers and back: a worker, or what leads to one. */
export interface Line {
  postMessage(message: ToWorker): void;
  terminate(): void;
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

/** Starts the worker that ships beside this module. */
export function startWorker(url?: string | URL): Worker {
  if (typeof Worker === "undefined") {
    throw new TandemError("request_invalid", "a model can be loaded only where there are web workers: not on a server");
  }
  if (url !== undefined) return new Worker(url, { type: "module", name: "tandem" });
  // Bundlers recognise exactly this expression.
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
}

export class Client implements Transport {
  readonly #worker: Line;
  readonly #waiting = new Map<number, Waiting>();
  #next_id = 0;
  readonly #onClosed: (why: TandemError) => void;
  /** Why the worker is gone, once it is. */
  #closed: TandemError | undefined;

  /** Takes the worker over. `onClosed` hears when it goes, whoever ended it. */
  constructor(worker: Line, onClosed: (why: TandemError) => void) {
    this.#onClosed = onClosed;
    this.#worker = worker;
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      this.close(new TandemError("internal", event.message || "the engine's worker did not start"));
    };
  }

  /** Calls the worker. Aborting `signal` asks it to stop; it then answers with an
   * `aborted` error, or with what it has if it was done already. */
  call<N extends CallName>(
    call: N,
    request: Calls[N]["request"],
    onEvent?: OnEvent<Calls[N]["event"]>,
    signal?: AbortSignal | null,
  ): Promise<Calls[N]["reply"]> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(new TandemError("aborted", "stopped before it began"));
    const id = this.#next_id++;
    const abort = () => this.#send({ id, abort: true });
    signal?.addEventListener("abort", abort);
    const answer = new Promise<Calls[N]["reply"]>((resolve, reject) => {
      const taken = () => this.#send({ id, taken: 1 });
      const waiting: Waiting = {
        event: (event) => onEvent?.(event, taken),
        reply: resolve,
        fail: reject,
      };
      this.#waiting.set(id, waiting);
    });
    this.#send({ id, call, request, events: onEvent !== undefined } as ToWorker);
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
    if (!this.#closed) this.#worker.postMessage(message);
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
