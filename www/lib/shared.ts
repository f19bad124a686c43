/**
 * One engine for the tabs of a site. The tab that holds a lock has the worker with the
 * model; the others ask it, over a channel each, in the words of `protocol.ts`. When it
 * goes, the lock goes to the next in line, who loads the model in turn.
 *
 * All tabs hear one channel: `hello` of a tab that wants to be answered, and the owner's
 * state. Who is gone is known by locks too: each tab holds one of its own name. An owner
 * that answers nobody (browsers freeze tabs) is robbed of its lock.
 */
import { Client, type Line, type OnEvent, type Transport } from "./client.ts";
import { fromPlain, TandemError, toPlain } from "./errors.ts";
import type { CallName, Calls, LoadRequest } from "./protocol.ts";
import { Served } from "./served.ts";
import { Sha256 } from "./storage/sha256.ts";
import type { Capabilities, LoadProgress } from "./types.ts";

/** The package's: tabs with another one do not understand each other. */
const VERSION = "0.1.0";

/** How often a tab that waits asks whether the owner is still there. */
const ASK_EVERY_MS = 5_000;
/** So many of these go unanswered before the owner is given up. */
const MAX_UNANSWERED = 3;
/** A request that so many owners did not survive is not given to another. */
const MAX_ASKED = 3;
/** How long an owner whose engine failed waits for the others to have heard of it. */
const HEARD_WITHIN_MS = 2_000;

/** What is said so that all tabs hear it. */
type Said = { hello: string } | State;

/** What the owner has. */
interface State {
  owner: string;
  /** When it took the lock: of two that say they have it the later one does. */
  since: number;
  /** Whom it listens to. */
  guests: string[];
  /** How far it has come, and what came of it. */
  progress?: LoadProgress;
  capabilities?: Capabilities;
}

/** What this tab has where it is the owner. */
interface Mine {
  client: Client;
  since: number;
  lines: Map<string, Served>;
  /** The engine is of no more use; called with each that has heard of it. */
  heard?: (guest: string) => void;
  progress?: LoadProgress;
  capabilities?: Capabilities;
}

/** The name of what is loaded, by which tabs find each other; undefined where nothing can
 * be shared: no locks, no channels, or files, which another tab does not have. */
export async function nameOf({ target, draft, options, threads, wasmUrl }: LoadRequest): Promise<string | undefined> {
  const places = draft ? [target, draft] : [target];
  if (places.some((place) => "files" in place || "directory" in place)) return undefined;
  // Older browsers, and pages without a secure context, have none, whatever the types say.
  const { locks } = navigator as { locks?: LockManager };
  if (!locks || typeof BroadcastChannel === "undefined") return undefined;
  try {
    // Refused where the page's origin is opaque.
    await locks.query();
  } catch {
    return undefined;
  }
  // A hash: a token may be part of it.
  const text = JSON.stringify([VERSION, import.meta.url, target, draft, options, threads, wasmUrl]);
  return `tandem-llm ${new Sha256().update(new TextEncoder().encode(text)).hex()}`;
}

export class Shared implements Transport {
  readonly #name: string;
  readonly #start: () => Worker;
  readonly #onClosed: (why: TandemError) => void;
  readonly #id = crypto.randomUUID();
  readonly #channel: BroadcastChannel;
  /** Ends with this engine: locks that are held, and requests for one. */
  readonly #over = new AbortController();
  #request: LoadRequest | undefined;
  #onProgress: (progress: LoadProgress) => void = () => undefined;
  #onLoaded: { resolve: (capabilities: Capabilities) => void; reject: (why: TandemError) => void } | undefined;
  /** Whoever answers, when somebody does: the worker of this tab, or another tab. */
  #client: Client | undefined;
  #mine: Mine | undefined;
  /** The owner as this tab knows it. */
  #owner = { owner: "", since: 0 };
  #closed: TandemError | undefined;
  /** Calls that wait for somebody to answer. */
  readonly #waiting = new Set<() => void>();
  #n_open = 0;
  #n_unanswered = 0;
  #watch: ReturnType<typeof setInterval> | undefined;

  /** `start` makes a worker where this tab becomes the owner. `onClosed` hears when this
   * engine goes; that another tab's went is no end of it. */
  constructor(name: string, start: () => Worker, onClosed: (why: TandemError) => void) {
    this.#name = name;
    this.#start = start;
    this.#onClosed = onClosed;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Said>) => this.#hear(data);
  }

  /** As [`Client`]'s. What was asked and not yet answered in part is asked again where the
   * owner goes; a reply that had begun fails with `engine_moved`. */
  async call<N extends CallName>(
    call: N,
    request: Calls[N]["request"],
    onEvent?: OnEvent<Calls[N]["event"]>,
    signal?: AbortSignal | null,
  ): Promise<Calls[N]["reply"]> {
    this.#n_open += 1;
    this.#watch ??= setInterval(() => this.#ask(), ASK_EVERY_MS);
    try {
      if (call === "load") {
        return await this.#load(request as LoadRequest, onEvent);
      }
      for (let n_asked = 1; ; n_asked += 1) {
        const client = await this.#answering(signal);
        let told = false as boolean;
        const heard = (event: Calls[N]["event"], taken: () => void) => {
          told = true;
          onEvent?.(event, taken);
        };
        try {
          return await client.call(call, request, onEvent && heard, signal);
        } catch (error) {
          const moved = error instanceof TandemError && error.code === "engine_moved";
          if (told || !moved || n_asked === MAX_ASKED) throw error;
        }
      }
    } finally {
      this.#n_open -= 1;
      if (this.#n_open === 0) this.#unwatch();
    }
  }

  close(why = new TandemError("aborted", "the engine was disposed of")): void {
    if (this.#closed) return;
    this.#closed = why;
    const mine = this.#mine;
    this.#mine = undefined;
    // Guests hear nothing: they ask the next owner.
    for (const line of mine?.lines.values() ?? []) line.end();
    mine?.client.close(why);
    this.#client?.close(why);
    this.#client = undefined;
    this.#channel.close();
    this.#unwatch();
    this.#wake();
    this.#over.abort();
    this.#onLoaded?.reject(why);
    this.#onClosed(why);
  }

  #load(request: LoadRequest, onEvent?: OnEvent<LoadProgress>): Promise<Capabilities> {
    this.#request = request;
    if (onEvent) this.#onProgress = (progress) => onEvent(progress, () => undefined);
    const loaded = new Promise<Capabilities>((resolve, reject) => (this.#onLoaded = { resolve, reject }));
    // Only who holds its own lock may say hello: an owner takes it for gone otherwise.
    this.#hold(`${this.#name} ${this.#id}`, {}, () => {
      this.#queue();
      this.#hello();
      return this.#ended();
    });
    return loaded;
  }

  /** Asks for a lock, and for as long as `held` takes has it. */
  #hold(name: string, options: LockOptions, held: () => Promise<void>, lost?: () => void): void {
    const wanted = options.steal ? options : { ...options, signal: this.#over.signal };
    navigator.locks.request(name, wanted, held).catch((error: unknown) => {
      if (this.#closed) return;
      // Another tab has taken it away.
      if (lost && error instanceof DOMException && error.name === "AbortError") lost();
      else this.close(fromPlain(toPlain(error)));
    });
  }

  /** Resolves when this engine ends. */
  #ended(): Promise<void> {
    const { signal } = this.#over;
    return new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve());
    });
  }

  /** Waits in line to be the owner, or does not wait. */
  #queue(options: LockOptions = {}): void {
    this.#hold(this.#name, options, () => this.#own(), () => this.#robbed());
  }

  /** Has the lock: loads the model, and answers the others. */
  async #own(): Promise<void> {
    // Asked for twice where it stole the lock.
    if (this.#mine || this.#closed || !this.#request) return;
    this.#leave();
    try {
      const client = new Client(this.#start(), (why) => void this.#fail(client, why));
      const mine: Mine = { client, lines: new Map(), since: Math.max(Date.now(), this.#owner.since + 1) };
      this.#mine = mine;
      this.#tell();
      const onEvent = (progress: LoadProgress) => {
        mine.progress = progress;
        this.#tell();
        this.#onProgress(progress);
      };
      mine.capabilities = await client.call("load", this.#request, onEvent);
      if (this.#mine !== mine) return;
      this.#tell();
      this.#answer(client, mine.capabilities);
    } catch (error) {
      const { code } = toPlain(error);
      // Told by whoever took the lock.
      if (code !== "engine_moved") this.close(fromPlain(toPlain(error)));
    }
    await this.#ended();
  }

  /** The worker is gone, or of no more use: who asked it hears why, here and elsewhere. The
   * lock goes after that, or it would look as if a tab had been closed, and what brought the
   * engine down would be asked again. */
  async #fail(client: Client, why: TandemError): Promise<void> {
    const mine = this.#mine;
    if (mine?.client !== client || mine.heard) return;
    const deaf = new Set(mine.lines.keys());
    await new Promise<void>((resolve) => {
      mine.heard = (guest) => {
        deaf.delete(guest);
        if (deaf.size === 0) resolve();
      };
      for (const line of mine.lines.values()) line.fail(why);
      if (deaf.size === 0) resolve();
      setTimeout(resolve, HEARD_WITHIN_MS);
    });
    this.close(why);
  }

  /** The lock was taken away, while this tab did not answer: it asks the one who has it. */
  #robbed(): void {
    const mine = this.#mine;
    if (!mine) return;
    this.#mine = undefined;
    for (const line of mine.lines.values()) line.end();
    if (this.#client === mine.client) this.#client = undefined;
    mine.client.close(moved());
    this.#queue();
    this.#hello();
  }

  #answer(client: Client, capabilities: Capabilities): void {
    this.#client = client;
    this.#onLoaded?.resolve(capabilities);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Whoever answers, as soon as there is somebody. */
  async #answering(signal?: AbortSignal | null): Promise<Client> {
    while (!this.#client) {
      if (this.#closed) throw this.#closed;
      if (signal?.aborted) throw new TandemError("aborted", "stopped before it began");
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    return this.#client;
  }

  #post(said: Said): void {
    if (!this.#closed) this.#channel.postMessage(said);
  }

  #hello(): void {
    this.#post({ hello: this.#id });
  }

  #tell(): void {
    const mine = this.#mine;
    if (!mine) return;
    const { since, lines, progress, capabilities } = mine;
    const state: State = { owner: this.#id, since, guests: [...lines.keys()] };
    if (capabilities) state.capabilities = capabilities;
    else if (progress) state.progress = progress;
    this.#post(state);
  }

  #hear(said: Said): void {
    if ("hello" in said) {
      this.#welcome(said.hello);
      return;
    }
    // One that was robbed has not heard of it yet; or this tab is the one, and will.
    if (this.#mine || said.since < this.#owner.since) return;
    this.#n_unanswered = 0;
    if (said.owner !== this.#owner.owner) {
      this.#leave();
      this.#owner = said;
    }
    if (said.progress) this.#onProgress(said.progress);
    if (!said.guests.includes(this.#id)) this.#hello();
    else if (said.capabilities && !this.#client) this.#join(said.capabilities);
  }

  /** Another tab wants to be answered. */
  #welcome(guest: string): void {
    const mine = this.#mine;
    if (!mine) return;
    if (mine.heard) {
      mine.heard(guest);
      return;
    }
    if (!mine.lines.has(guest)) {
      const line = new Served(channelOf(this.#name, this.#id, guest), mine.client, (why) => void this.#fail(mine.client, why));
      mine.lines.set(guest, line);
      // Its own lock is free when it is gone.
      this.#hold(`${this.#name} ${guest}`, {}, () => {
        line.end();
        mine.lines.delete(guest);
        mine.heard?.(guest);
        return Promise.resolve();
      });
    }
    this.#tell();
  }

  /** The owner listens, and has the model. */
  #join(capabilities: Capabilities): void {
    const channel = channelOf(this.#name, this.#owner.owner, this.#id);
    const line: Line = Object.assign(channel, { terminate: () => channel.close(), onerror: null });
    const client = new Client(line, () => {
      if (this.#client !== client) return;
      // Its engine failed: it is told that this was heard, and the next is waited for.
      this.#client = undefined;
      this.#hello();
    });
    this.#answer(client, capabilities);
  }

  /** The owner is another one. */
  #leave(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.close(moved());
  }

  /** Somebody waits here: asks whether the owner is still there. Browsers freeze tabs, and a
   * lock goes nowhere then. */
  #ask(): void {
    if (this.#mine) return;
    this.#n_unanswered += 1;
    if (this.#n_unanswered > MAX_UNANSWERED) {
      this.#n_unanswered = 0;
      this.#queue({ steal: true });
    } else this.#hello();
  }

  #unwatch(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }
}

function moved(): TandemError {
  return new TandemError("engine_moved", "the tab that had the model is gone: ask again, and another one answers", { status: 503 });
}

function channelOf(name: string, owner: string, guest: string): BroadcastChannel {
  return new BroadcastChannel(`${name} ${owner} ${guest}`);
}
