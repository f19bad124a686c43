import { runAgent, type AgentParams, type AgentResult } from "./agent.ts";
import { Client, startWorker, type Transport } from "./client.ts";
import { fromPlain, TandemError, toPlain } from "./errors.ts";
import { answerFetch } from "./fetch.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionParams,
  Completion,
  CompletionParams,
  EngineStats,
} from "./openai.ts";
import type { AgentRequest, Calls, LoadRequest } from "./protocol.ts";
import { Remote } from "./remote/remote.ts";
import { nameOf, Shared } from "./shared.ts";
import { placeOf } from "./storage/place.ts";
import { storage, type ModelStorage } from "./storage/storage.ts";
import { Stream } from "./stream.ts";
import type {
  Capabilities,
  ClassifyParams,
  ConnectOptions,
  Detokenized,
  DetokenizeParams,
  LabelScore,
  LoadOptions,
  LoadProgress,
  ScoreParams,
  Scored,
  Tokenized,
  TokenizeParams,
} from "./types.ts";

/** What every request may be given beside its body. */
export interface RequestOptions {
  /** Stops the request, also while it waits for its turn: it rejects with `aborted`. */
  signal?: AbortSignal | null;
}

/** A chat completion, piece by piece. */
export type ChatStream = Stream<ChatCompletionChunk, ChatCompletion>;
/** A text completion, piece by piece. */
export type CompletionStream = Stream<Completion, Completion>;

/** `engine.chat.completions`. */
export interface ChatCompletions {
  /**
   * Replies to a conversation, as OpenAI's method of this name: in pieces where `stream`
   * is true, else whole.
   *
   * @throws {TandemError} `request_invalid`, with the field at fault as `param`;
   * `context_overflow`; `aborted`; or what else the engine reports.
   */
  create(body: ChatCompletionParams & { stream: true }, options?: RequestOptions): Promise<ChatStream>;
  create(body: ChatCompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
  create(body: ChatCompletionParams, options?: RequestOptions): Promise<ChatStream | ChatCompletion>;
}

/** `engine.completions`. */
export interface Completions {
  /** Continues a text, as OpenAI's method of this name; otherwise as `chat.completions`. */
  create(body: CompletionParams & { stream: true }, options?: RequestOptions): Promise<CompletionStream>;
  create(body: CompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<Completion>;
  create(body: CompletionParams, options?: RequestOptions): Promise<CompletionStream | Completion>;
}

/** How a worker is made that decides what agents do. */
interface Decider {
  start: () => Worker;
  wasmUrl?: string;
}

/** From this size on, the browser is asked not to clear what is stored when space runs low. */
const PERSIST_FROM_BYTES = 100e6;

/**
 * A loaded model, in a worker of its own or another tab's, or one behind a server. A loaded model answers
 * requests one at a time, in the order they come.
 */
export class Tandem {
  /** What downloads have left in this browser. */
  static readonly storage: ModelStorage = storage;
  /** What it can do with the models it has. */
  readonly capabilities: Capabilities;
  /** Resolves when the engine can no longer be asked, with why: it was disposed of
   * (`aborted`), or it failed (`internal`) and has to be loaded again. */
  readonly closed: Promise<TandemError>;
  /** Conversations. */
  readonly chat: { readonly completions: ChatCompletions };
  /** Texts. */
  readonly completions: Completions;
  /**
   * Answers what a server with OpenAI's interface would: `/v1/chat/completions`,
   * `/v1/completions` and `/v1/models`, streams as server-sent events, errors with their
   * status. Give it to any client that takes a `fetch`; the host in the address does not
   * matter, and nothing leaves this machine.
   *
   * ```ts
   * const client = new OpenAI({ baseURL: "http://tandem/v1", apiKey: "none", fetch: engine.fetch, dangerouslyAllowBrowser: true });
   * ```
   */
  readonly fetch: typeof globalThis.fetch;
  /** Gets from a goal to an answer with tools, under one policy. */
  readonly agent: { run(params: AgentParams): Promise<AgentResult> };
  readonly #client: Transport;
  /** Decides what agents do, where that is not the engine's worker. */
  #decider: Transport | undefined;
  readonly #makeDecider: Decider;

  private constructor(client: Transport, capabilities: Capabilities, closed: Promise<TandemError>, decider: Decider) {
    this.#client = client;
    this.#makeDecider = decider;
    this.capabilities = capabilities;
    this.closed = closed;
    this.chat = { completions: { create: this.#creator("chat") as ChatCompletions["create"] } };
    this.completions = { create: this.#creator("complete") as Completions["create"] };
    this.agent = { run: (params) => this.#runAgent(params) };
    this.fetch = (input, init) => answerFetch(this, this.#raw, new Request(input, init));
  }

  /**
   * Loads a model: the pair that ships with the package where none is named.
   *
   * @throws {TandemError} with the engine's `code`; `aborted` where the signal said so.
   */
  static async load(options: LoadOptions = {}): Promise<Tandem> {
    const { device = "auto", contextTokens, memoryBudgetBytes, onProgress, signal, threads, wasmUrl } = options;
    if (signal?.aborted) throw new TandemError("aborted", "stopped before it began");
    const { target, draft } = options.target
      ? { target: options.target, draft: options.draft }
      : { ...(await import("./embedded.ts")).embedded(), ...(options.draft ? { draft: options.draft } : {}) };
    const request: LoadRequest = {
      target: placeOf(target),
      storage: options.storage ?? {},
      options: {
        device,
        ...(contextTokens === undefined ? {} : { contextTokens }),
        ...(memoryBudgetBytes === undefined ? {} : { memoryBudgetBytes }),
      },
    };
    if (threads !== undefined) request.threads = threads;
    if (draft) request.draft = placeOf(draft);
    if (wasmUrl !== undefined) {
      // As any address of the page's: a worker would resolve it against its own.
      const base = typeof location === "undefined" ? import.meta.url : location.href;
      request.wasmUrl = new URL(wasmUrl, base).href;
    }
    const start = () => startWorker(options.workerUrl);
    const name = options.shared && !options.worker ? await nameOf(request) : undefined;
    let onClosed!: (why: TandemError) => void;
    const closed = new Promise<TandemError>((resolve) => (onClosed = resolve));
    const client = name === undefined ? new Client(options.worker ?? start(), onClosed) : new Shared(name, start, onClosed);
    // A load does not look up between reads: to stop it, its worker is ended.
    const stop = () => client.close(new TandemError("aborted", "stopped"));
    signal?.addEventListener("abort", stop);
    try {
      let asked = false;
      const onEvent = (progress: LoadProgress) => {
        if (!asked && progress.stored && progress.phase === "download" && progress.total_bytes >= PERSIST_FROM_BYTES) {
          asked = true;
          void storage.persist();
        }
        onProgress?.(progress);
      };
      const decider = { start, ...(request.wasmUrl === undefined ? {} : { wasmUrl: request.wasmUrl }) };
      return new Tandem(client, await client.call("load", request, onEvent, signal), closed, decider);
    } catch (error) {
      client.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /**
   * A model behind a server with OpenAI's interface (llama.cpp, Ollama, vLLM, LM Studio and
   * others), for when it outgrows this machine. What is asked goes to that server, and only
   * there. Agents run here, in a worker, and ask the server for replies. `score`, `classify`, `tokenize` and
   * `detokenize` need a loaded model.
   *
   * @throws {TandemError} `remote_failed` where the server cannot be reached or refuses;
   * `request_invalid` where it has no such model; `aborted`.
   */
  static async connect(options: ConnectOptions): Promise<Tandem> {
    let onClosed!: (why: TandemError) => void;
    const closed = new Promise<TandemError>((resolve) => (onClosed = resolve));
    const remote = new Remote(options, onClosed);
    return new Tandem(remote, await remote.open(options.model, options.signal), closed, { start: startWorker });
  }

  /** How likely a text is under the model, token by token. */
  score(params: ScoreParams | string, options?: RequestOptions): Promise<Scored> {
    const request = typeof params === "string" ? { text: params } : params;
    return this.#ask("score", request, options);
  }

  /** Which of several labels fits a text, the best first. */
  classify(params: ClassifyParams, options?: RequestOptions): Promise<LabelScore[]> {
    return this.#ask("classify", params, options);
  }

  /** The ids of a text, or of messages as the model would read them. */
  tokenize(params: TokenizeParams | string, options?: RequestOptions): Promise<Tokenized> {
    const request = typeof params === "string" ? { text: params } : params;
    return this.#ask("tokenize", request, options);
  }

  /** The text of ids. */
  detokenize(params: DetokenizeParams | readonly number[], options?: RequestOptions): Promise<Detokenized> {
    const request = "token_ids" in params ? params : { token_ids: params };
    return this.#ask("detokenize", request, options);
  }

  /** What was done since the model was loaded. */
  stats(): Promise<EngineStats> {
    return this.#client.call("stats", null);
  }

  /** Ends the worker and frees the model. Requests that wait fail with `aborted`. Of a shared
   * engine only this tab lets go. */
  dispose(): void {
    this.#client.close();
    this.#decider?.close();
  }

  #runAgent(params: AgentParams): Promise<AgentResult> {
    // The pair that ships was trained on bare observations, and a grammar keeps a small
    // model to its form.
    const own = !params.completions && this.capabilities.model.startsWith("tandem");
    const is_server = this.#client instanceof Remote;
    const style = { grammar: !params.completions && !is_server, ...(own ? { observations: "tool" as const, fences: false } : {}), ...params.style };
    const host = {
      agent: (request: AgentRequest) => {
        const { wasmUrl } = this.#makeDecider;
        const begins = "begin" in request || "replay" in request;
        return this.#agents().call("agent", begins && wasmUrl !== undefined ? { ...request, wasmUrl } : request);
      },
      chat: async (request: ChatCompletionParams, signal: AbortSignal, onChunk?: (chunk: ChatCompletionChunk) => void) => {
        if (params.completions) return params.completions.create(request, { signal });
        if (!onChunk) return this.chat.completions.create({ ...request, stream: false }, { signal });
        const stream = await this.chat.completions.create({ ...request, stream: true }, { signal });
        for await (const chunk of stream) onChunk(chunk);
        return stream.final();
      },
    };
    return runAgent(host, { ...params, style });
  }

  /** Who decides what agents do: the engine's worker. Beside a server there is none, and one of
   * another tab may go: the first run starts one then, which loads no model. */
  #agents(): Transport {
    if (this.#client instanceof Client) return this.#client;
    return (this.#decider ??= new Client(this.#makeDecider.start(), () => (this.#decider = undefined)));
  }

  #ask<N extends "score" | "classify" | "tokenize" | "detokenize">(
    call: N,
    params: object,
    { signal }: RequestOptions = {},
  ): Promise<Calls[N]["reply"]> {
    return this.#client.call(call, JSON.stringify(params), undefined, signal);
  }

  #creator(call: "chat" | "complete") {
    return async (body: { stream?: boolean | null }, options: RequestOptions = {}) =>
      this.#raw(call, JSON.stringify(body), body.stream === true, options.signal);
  }

  /** A request as text: the whole reply, or a stream that has begun. */
  readonly #raw: RawCreate = (call, body, stream, signal) => {
    if (!stream) return this.#client.call(call, body, undefined, signal);
    const controller = new AbortController();
    const abort = () => controller.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    return new Promise((resolve, reject) => {
      type Piece = ChatCompletionChunk | Completion;
      const made = new Stream<Piece, ChatCompletion | Completion>(controller);
      // What is wrong with a request shows before its first piece, and rejects.
      const onPiece = (piece: Piece, taken: () => void) => {
        made.push(piece, taken);
        resolve(made);
      };
      this.#client
        .call(call, body, onPiece, controller.signal)
        .then(
          (whole) => {
            made.end(whole);
            resolve(made);
          },
          (thrown: unknown) => {
            const error = fromPlain(toPlain(thrown));
            made.end(undefined, error);
            reject(error);
          },
        )
        .finally(() => signal?.removeEventListener("abort", abort));
    });
  };
}

/** @internal */
export type RawCreate = (
  call: "chat" | "complete",
  body: string,
  stream: boolean,
  signal?: AbortSignal | null,
) => Promise<Stream<ChatCompletionChunk | Completion, ChatCompletion | Completion> | ChatCompletion | Completion>;
