/** Every request that left this machine, of tools, for models and to servers: written down
 * before it does. */
import type { Sandbox } from "tandem-llm";
import { createSandbox } from "../../sandbox/frames.ts";
import type { RequestRecord } from "../store/records.ts";

/** Where the notes are kept. */
export interface RequestStore {
  saveRequest(request: RequestRecord): Promise<void>;
  requests(): Promise<RequestRecord[]>;
  clearRequests(): Promise<void>;
}

/** What is known of a request before it is made. */
type Begun = Pick<RequestRecord, "conversation" | "kind" | "tool" | "method" | "url" | "body">;
/** What came of it. */
type Ended = Partial<Pick<RequestRecord, "status" | "n_bytes" | "failed">>;
type End = (ended: Ended) => void;

/** Of what a server is sent no more is kept: the conversation has it. */
const MAX_SENT_CHARS = 4_000;

export class RequestLog {
  /** The latest first. */
  list = $state.raw<readonly RequestRecord[]>([]);
  /** The conversation that is being answered. */
  conversation = "";
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
      fetch: async (fetch, signal) => {
        const { method, url, body } = fetch;
        const end = await this.begin({ conversation, kind: "tool", tool: toolOf(url), method, url, body: body ?? "" });
        const answer = await orFailed(sandbox.fetch(fetch, signal), end);
        end({ status: answer.status, n_bytes: answer.n_bytes });
        return answer;
      },
    };
  }

  /** `fetch`, for a server of the person's: what it is sent is noted, its key is not. */
  readonly fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const { conversation } = this;
    const { method = "GET" } = init;
    const url = input instanceof Request ? input.url : String(input);
    const sent = typeof init.body === "string" ? init.body : "";
    const n_more = sent.length - MAX_SENT_CHARS;
    const body = n_more > 0 ? `${sent.slice(0, MAX_SENT_CHARS)} … and ${n_more.toLocaleString()} characters more` : sent;
    const end = await this.begin({ conversation, kind: "server", tool: "", method, url, body });
    const response = await orFailed(fetch(input, init), end);
    end({ status: response.status });
    return response;
  };

  /** Notes a request that is about to be made; it is to be told how that ended. */
  async begin(request: Begun): Promise<End> {
    const begun = { ...request, id: crypto.randomUUID(), at: Date.now(), status: null, n_bytes: 0, took_ms: 0, failed: "" };
    const began_ms = performance.now();
    await this.#note(begun);
    return (ended) => void this.#note({ ...begun, ...ended, took_ms: Math.round(performance.now() - began_ms) });
  }

  async #note(request: RequestRecord): Promise<void> {
    this.list = [request, ...this.list.filter(({ id }) => id !== request.id)].sort(latestFirst);
    await this.#store.saveRequest(request);
  }
}

async function orFailed<T>(answer: Promise<T>, end: End): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    end({ failed: error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

const latestFirst = (a: RequestRecord, b: RequestRecord) => b.at - a.at;
