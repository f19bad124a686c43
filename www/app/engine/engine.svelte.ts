import { Tandem, TandemError, type Capabilities } from "tandem-llm";
import type { Problem } from "../store/records.ts";
import type { RequestLog } from "../tools/requests.svelte.ts";
import { askedFrom, EMBEDDED, loadOptionsOf, type ModelChoice } from "./choice.ts";
import { Transfer } from "./transfer.svelte.ts";

/** A crash sooner than this after the last is not answered by loading again. */
const CALM_MS = 30_000;

type Status = "none" | "loading" | "ready";

/** The model that the page has, or is about to have. */
export class Engine {
  status = $state<Status>("none");
  choice = $state.raw<ModelChoice>(EMBEDDED);
  capabilities = $state.raw<Capabilities>();
  problem = $state.raw<Problem>();
  /** How the load goes. */
  transfer = $state.raw<Transfer>();
  /** How far it had come, where the person had it wait. */
  paused = $state.raw<Transfer>();
  #tandem: Tandem | undefined;
  #stop: AbortController | undefined;
  #waiting: { ready: (tandem: Tandem) => void; fail: (error: unknown) => void }[] = [];
  #crashed_at = -Infinity;
  readonly #requests: RequestLog;

  /** `requests` is where it is noted what is asked of the network. */
  constructor(requests: RequestLog) {
    this.#requests = requests;
  }

  /** Loads a model in place of the one there is. */
  async load(choice: ModelChoice): Promise<void> {
    this.#drop();
    this.problem = undefined;
    this.paused = undefined;
    this.choice = choice;
    this.status = "loading";
    const transfer = (this.transfer = new Transfer());
    const stop = (this.#stop = new AbortController());
    try {
      const tandem = await open(choice, transfer, this.#requests, stop.signal);
      if (this.#stop !== stop) {
        // Another was chosen meanwhile.
        tandem.dispose();
        return;
      }
      this.#tandem = tandem;
      this.capabilities = tandem.capabilities;
      this.status = "ready";
      void tandem.closed.then((why) => this.#closed(tandem, why));
      for (const { ready } of this.#waiting.splice(0)) ready(tandem);
    } catch (error) {
      if (this.#stop !== stop) return;
      this.status = "none";
      this.problem = problemOf(error);
      for (const { fail } of this.#waiting.splice(0)) fail(error);
    } finally {
      if (this.#stop === stop) {
        this.#stop = undefined;
        this.transfer = undefined;
      }
    }
  }

  /** Stops the load that is going on. */
  cancel(): void {
    this.#stop?.abort();
  }

  /** Stops the load, to go on with it later: what has come is kept. */
  pause(): void {
    this.paused = this.transfer;
    this.#stop?.abort();
  }

  /** Lets the model go. */
  unload(): void {
    this.#drop();
    this.problem = undefined;
  }

  /** The engine, once there is one.
   *
   * @throws {TandemError} where there will be none, or the signal says not to wait. */
  whenReady(signal: AbortSignal): Promise<Tandem> {
    if (this.#tandem) return Promise.resolve(this.#tandem);
    if (this.status !== "loading") {
      return Promise.reject(new TandemError("model_missing", "no model is loaded: choose one first"));
    }
    return new Promise((ready, fail) => {
      this.#waiting.push({ ready, fail });
      signal.addEventListener("abort", () => fail(new TandemError("aborted", "stopped")));
    });
  }

  #drop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
    const tandem = this.#tandem;
    this.#tandem = undefined;
    tandem?.dispose();
    this.capabilities = undefined;
    this.status = "none";
  }

  #closed(tandem: Tandem, why: TandemError): void {
    if (this.#tandem !== tandem) return;
    this.#again();
    this.problem = problemOf(why);
  }

  /** Hears of what went wrong with a reply: without its GPU a model has to be loaded again. */
  failed(error: unknown): void {
    if (!(error instanceof TandemError) || error.code !== "gpu_lost") return;
    this.#again();
    if (this.status === "none") this.problem = problemOf(error);
  }

  /** Lets the model go and loads it again, if that was not done just now. What was said is
   * kept: a model that is there again is all that is missing. */
  #again(): void {
    this.#drop();
    const calm = performance.now() - this.#crashed_at > CALM_MS;
    this.#crashed_at = performance.now();
    if (calm) void this.load(this.choice);
  }
}

async function open(choice: ModelChoice, transfer: Transfer, requests: RequestLog, signal: AbortSignal): Promise<Tandem> {
  const { source } = choice;
  if (source.kind === "server") {
    const { url, model, key } = source;
    const { fetch } = requests;
    return Tandem.connect({ baseURL: url, ...(model ? { model } : {}), ...(key ? { apiKey: key } : {}), fetch, signal });
  }
  const asked = { conversation: "", kind: "download", tool: "", method: "GET", body: "" } as const;
  const ends = await Promise.all(askedFrom(choice).map((url) => requests.begin({ ...asked, url })));
  try {
    const tandem = await Tandem.load({ ...loadOptionsOf(choice), onProgress: transfer.heard.bind(transfer), signal });
    for (const end of ends) end({});
    return tandem;
  } catch (error) {
    const failed = error instanceof TandemError ? error.code : String(error);
    for (const end of ends) end({ failed });
    throw error;
  }
}

/** What is to be told of anything thrown; nothing where the person stopped it. */
export function problemOf(error: unknown): Problem | undefined {
  if (isAbort(error)) return undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TandemError && error.code === "gpu_lost") {
    return { code: "gpu_lost", message: `The GPU stopped in the middle of this. What was written is kept. (${message})` };
  }
  return { code: error instanceof TandemError ? error.code : "internal", message };
}

export function isAbort(error: unknown): boolean {
  return error instanceof TandemError && error.code === "aborted";
}
