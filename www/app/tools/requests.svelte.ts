/** Every request of a tool that left this machine: written down before it does. */
import type { AllowedFetch, FetchedText, Sandbox } from "tandem-llm";
import { createSandbox } from "../../sandbox/frames.ts";
import type { RequestRecord } from "../store/records.ts";

/** Where the notes are kept. */
export interface RequestStore {
  saveRequest(request: RequestRecord): Promise<void>;
  requests(): Promise<RequestRecord[]>;
  clearRequests(): Promise<void>;
}

export class RequestLog {
  /** The latest first. */
  list = $state.raw<readonly RequestRecord[]>([]);
  readonly #store: RequestStore;

  constructor(store: RequestStore) {
    this.#store = store;
  }

  async open(): Promise<void> {
    const stored = await this.#store.requests();
    const here = this.list;
    this.list = [...here, ...stored.filter((request) => !here.some(({ id }) => id === request.id))].sort(latestFirst);
  }

  async clear(): Promise<void> {
    this.list = [];
    await this.#store.clearRequests();
  }

  /** A sandbox whose every request is noted. `toolOf` names the tool that asked for an address. */
  sandbox(conversation: string, toolOf: (url: string) => string): Sandbox {
    const sandbox = createSandbox();
    return {
      run: (...call) => sandbox.run(...call),
      fetch: (fetch, signal) => this.#noting(fetch, conversation, toolOf(fetch.url), () => sandbox.fetch(fetch, signal)),
    };
  }

  async #noting(
    { method, url, body }: AllowedFetch,
    conversation: string,
    tool: string,
    send: () => Promise<FetchedText>,
  ): Promise<FetchedText> {
    const begun: RequestRecord = {
      id: crypto.randomUUID(),
      at: Date.now(),
      conversation,
      tool,
      method,
      url,
      body: body ?? "",
      status: null,
      n_bytes: 0,
      took_ms: 0,
      failed: "",
    };
    const began_ms = performance.now();
    const ended = (more: Partial<RequestRecord>) =>
      this.#note({ ...begun, ...more, took_ms: Math.round(performance.now() - began_ms) });
    await this.#note(begun);
    try {
      const answer = await send();
      void ended({ status: answer.status, n_bytes: answer.n_bytes });
      return answer;
    } catch (error) {
      void ended({ failed: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  }

  async #note(request: RequestRecord): Promise<void> {
    this.list = [request, ...this.list.filter(({ id }) => id !== request.id)].sort(latestFirst);
    await this.#store.saveRequest(request);
  }
}

const latestFirst = (a: RequestRecord, b: RequestRecord) => b.at - a.at;
