/** A tab that has the engine of a site's tabs, as it answers one of the others. */
import type { Client } from "./client.ts";
import { TandemError, toPlain } from "./errors.ts";
import type { CallName, Calls, FromWorker, ToWorker } from "./protocol.ts";

/** The owner's end of the line to another tab. */
export class Served {
  readonly #channel: BroadcastChannel;
  readonly #client: Client;
  readonly #onLost: (why: TandemError) => void;
  readonly #calls = new Map<number, { stop: AbortController; untaken: (() => void)[] }>();
  #over = false;

  /** `onLost` hears that the model is of no more use. */
  constructor(channel: BroadcastChannel, client: Client, onLost: (why: TandemError) => void) {
    this.#channel = channel;
    this.#client = client;
    this.#onLost = onLost;
    channel.onmessage = ({ data }: MessageEvent<ToWorker>) => this.#receive(data);
  }

  /** Answers no more, and stops what it was about to. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#channel.close();
    for (const { stop } of this.#calls.values()) stop.abort();
  }

  /** Has all calls of that tab fail. */
  fail(why: TandemError): void {
    this.#post({ fatal: toPlain(why) });
    this.end();
  }

  #post(message: FromWorker): void {
    if (!this.#over) this.#channel.postMessage(message);
  }

  #receive(message: ToWorker): void {
    const { id } = message;
    if ("abort" in message) this.#calls.get(id)?.stop.abort();
    else if ("taken" in message) {
      for (const taken of this.#calls.get(id)?.untaken.splice(0, message.taken) ?? []) taken();
    } else void this.#answer(message);
  }

  async #answer({ id, call, request, events }: Extract<ToWorker, { call: CallName }>): Promise<void> {
    const open = { stop: new AbortController(), untaken: [] as (() => void)[] };
    this.#calls.set(id, open);
    const onEvent = (event: Calls[CallName]["event"], taken: () => void) => {
      open.untaken.push(taken);
      this.#post({ id, event });
    };
    try {
      this.#post({ id, reply: await this.#client.call(call, request, events ? onEvent : undefined, open.stop.signal) });
    } catch (thrown) {
      this.#post({ id, error: toPlain(thrown) });
      // As a tab of its own would: it has to be loaded again, here.
      if (thrown instanceof TandemError && thrown.code === "gpu_lost") this.#onLost(thrown);
    } finally {
      this.#calls.delete(id);
    }
  }
}
