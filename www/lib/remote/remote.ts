/** A server with OpenAI's interface in the engine's place. */
import type { OnEvent, Transport } from "../client.ts";
import { TandemError } from "../errors.ts";
import type { ChatCompletion, Completion, Usage } from "../openai.ts";
import type { CallName, Calls } from "../protocol.ts";
import type { Capabilities, ConnectOptions } from "../types.ts";
import {
  Begun,
  chatChunk,
  chatWhole,
  ChatAssembly,
  completion,
  completionWhole,
  isObject,
  NO_SPECULATION,
  TextAssembly,
  usageOf,
  type Clock,
} from "./assemble.ts";
import { eventData } from "./sse.ts";

/** Pieces that whoever reads has not taken; past that the server is not read either. */
const MAX_UNTAKEN = 32;
/** Errors' texts can be pages. */
const MAX_MESSAGE = 500;

type Json = Record<string, unknown>;

export class Remote implements Transport {
  readonly #base: string;
  readonly #key: string | undefined;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof globalThis.fetch;
  readonly #under_way = new Set<AbortController>();
  readonly #onClosed: (why: TandemError) => void;
  #closed: TandemError | undefined;
  #model = "";
  readonly #done: { requests: number; usage: Usage; tokens_per_s: number } = {
    requests: 0,
    usage: usageOf(undefined),
    tokens_per_s: 0,
  };

  constructor(options: ConnectOptions, onClosed: (why: TandemError) => void) {
    this.#base = baseOf(options.baseURL);
    this.#key = options.apiKey;
    this.#headers = options.headers ?? {};
    // Called as a method of ours it would not be the window's.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#onClosed = onClosed;
  }

  /** Asks the server what it has, and chooses `model` or the first. */
  async open(model: string | undefined, signal: AbortSignal | undefined): Promise<Capabilities> {
    const controller = this.#begin(signal);
    let models: Json[] = [];
    try {
      const response = await this.#send("GET", "/models", undefined, controller.signal);
      // A server whose list is missing or broken says nothing of its other routes: where the
      // model is named already, the list is not needed.
      if (response.ok || response.status === 401 || response.status === 403 || model === undefined) {
        const found = await this.#read(response);
        models = Array.isArray(found["data"]) ? found["data"].filter(isObject) : [];
      }
    } catch (error) {
      throw this.#told(error, controller);
    } finally {
      this.#under_way.delete(controller);
    }
    const ids = models.map(({ id }) => id).filter((id) => typeof id === "string");
    const chosen = model ?? ids[0];
    if (chosen === undefined) throw new TandemError("remote_failed", `${this.#base} has no model`, { status: 502 });
    if (ids.length > 0 && !ids.includes(chosen)) {
      const some = ids.slice(0, 8).join(", ") + (ids.length > 8 ? ", ..." : "");
      throw new TandemError("request_invalid", `model: ${chosen} is not at ${this.#base}; ${some}`, {
        status: 404,
        type: "invalid_request_error",
        param: "model",
      });
    }
    this.#model = chosen;
    const about = models.find(({ id }) => id === chosen) ?? {};
    const meta = isObject(about["meta"]) ? about["meta"] : {};
    const number = (...values: unknown[]) => values.find((value) => typeof value === "number") ?? 0;
    return {
      model: chosen,
      architecture: "",
      n_parameters: number(meta["n_params"]),
      device: new URL(this.#base).host,
      threads: 1,
      context_tokens: number(about["max_model_len"], about["context_length"], meta["n_ctx"], meta["n_ctx_train"]),
      draft: null,
      has_chat_template: true,
      tool_calls: "server",
      enforces_tool_calls: false,
      response_formats: ["text", "json_object", "json_schema"],
      speculation_modes: [],
      max_top_logprobs: 20,
      max_choices: 128,
    };
  }

  async call<N extends CallName>(
    call: N,
    request: Calls[N]["request"],
    onEvent?: OnEvent<Calls[N]["event"]>,
    signal?: AbortSignal | null,
  ): Promise<Calls[N]["reply"]> {
    const answer = await this.#answer(call, request, onEvent as OnEvent<unknown> | undefined, signal);
    return answer as Calls[N]["reply"];
  }

  close(why = new TandemError("aborted", "the connection was disposed of")): void {
    if (this.#closed) return;
    this.#closed = why;
    for (const controller of this.#under_way) controller.abort(why);
    this.#onClosed(why);
  }

  async #answer(call: CallName, request: unknown, onEvent?: OnEvent<unknown>, signal?: AbortSignal | null): Promise<unknown> {
    if (this.#closed) throw this.#closed;
    if (call === "stats") {
      const { requests, usage, tokens_per_s } = this.#done;
      return { requests, usage, speculation: NO_SPECULATION, decode_tokens_per_s: tokens_per_s };
    }
    if (call !== "chat" && call !== "complete") {
      throw new TandemError("request_invalid", `${call}: a server cannot be asked for this; a loaded model can`, {
        status: 501,
        type: "invalid_request_error",
      });
    }
    const controller = this.#begin(signal);
    try {
      const { body, wants_usage } = this.#body(request as string, onEvent !== undefined);
      const listener: OnEvent<unknown> | undefined =
        onEvent &&
        ((piece, taken) => {
          const about_usage = (piece as Completion).choices.length === 0;
          if (about_usage && !wants_usage) taken();
          else onEvent(piece, taken);
        });
      const reply = await this.#create(call, body, listener, controller.signal);
      this.#count(reply);
      return reply;
    } catch (error) {
      throw this.#told(error, controller);
    } finally {
      this.#under_way.delete(controller);
      // What is left of an answer is not waited for.
      controller.abort();
    }
  }

  #begin(signal: AbortSignal | null | undefined): AbortController {
    if (signal?.aborted) throw new TandemError("aborted", "stopped before it began");
    const controller = new AbortController();
    signal?.addEventListener("abort", () => controller.abort(), { signal: controller.signal });
    this.#under_way.add(controller);
    return controller;
  }

  /** What to send: the request, for the server's model. */
  #body(text: string, stream: boolean): { body: Json; wants_usage: boolean } {
    const body = JSON.parse(text) as unknown;
    if (!isObject(body)) {
      throw new TandemError("request_invalid", "request: is no object", { status: 400, type: "invalid_request_error", param: "request" });
    }
    // How guesses are made is the server's own business, and changes no text.
    const rest = { ...body };
    delete rest["speculation"];
    const policy = rest["context_overflow"] ?? "error";
    if (policy !== "error" && !(isObject(policy) && policy["policy"] === "error")) {
      const detail = "context_overflow: a server counts its own tokens, and leaves nothing out when asked";
      throw new TandemError("request_invalid", detail, { status: 400, type: "invalid_request_error", param: "context_overflow" });
    }
    delete rest["context_overflow"];
    const model = rest["model"] === undefined || rest["model"] === "tandem" ? this.#model : rest["model"];
    const made: Json = { ...rest, model, stream };
    const options = isObject(rest["stream_options"]) ? rest["stream_options"] : {};
    // Without it a stream does not say what it took.
    if (stream) made["stream_options"] = { ...options, include_usage: true };
    else delete made["stream_options"];
    return { body: made, wants_usage: options["include_usage"] === true };
  }

  async #create(call: "chat" | "complete", body: Json, onEvent: OnEvent<unknown> | undefined, signal: AbortSignal) {
    const clock: Clock = { began: performance.now(), first: undefined, ended: 0 };
    const path = call === "chat" ? "/chat/completions" : "/completions";
    const response = await this.#send("POST", path, body, signal);
    if (!onEvent) {
      const found = await this.#read(response);
      clock.ended = performance.now();
      return call === "chat" ? chatWhole(found, clock) : completionWhole(found, clock);
    }
    if (!response.ok || !response.body) await this.#read(response);
    const assembly = call === "chat" ? new ChatAssembly() : new TextAssembly();
    const begun = new Begun();
    let untaken = 0;
    let wake: () => void = () => undefined;
    signal.addEventListener("abort", () => wake());
    const taken = () => {
      untaken -= 1;
      wake();
    };
    let n_pieces = 0;
    for await (const data of eventData(response.body ?? new ReadableStream())) {
      if (data === "[DONE]") break;
      const found = parse(data);
      if (!found) throw this.#failed("it sent an event that is no JSON object");
      if (found["error"] !== undefined) throw this.#refused(response.status, found);
      clock.first ??= performance.now();
      n_pieces += 1;
      const piece = assembly instanceof ChatAssembly ? chatChunk(found, begun) : completion(found);
      if (assembly instanceof ChatAssembly) assembly.add(piece as ReturnType<typeof chatChunk>, found);
      else assembly.add(piece as Completion, found);
      untaken += 1;
      onEvent(piece, taken);
      while (untaken > MAX_UNTAKEN && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      if (signal.aborted) throw new TandemError("aborted", "stopped");
    }
    if (n_pieces === 0) throw this.#failed("it answered with an empty stream");
    clock.ended = performance.now();
    return assembly.whole(clock);
  }

  #send(method: string, path: string, body: Json | undefined, signal: AbortSignal): Promise<Response> {
    return this.#fetch(this.#base + path, {
      method,
      headers: {
        ...(body ? { "content-type": "application/json" } : {}),
        ...(this.#key === undefined || this.#key === "" ? {} : { authorization: `Bearer ${this.#key}` }),
        ...this.#headers,
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal,
      cache: "no-store",
      // No cookies, and no word of where this page is.
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  }

  async #read(response: Response): Promise<Json> {
    const text = await response.text();
    const found = parse(text);
    if (!response.ok || (found && found["error"] !== undefined && found["choices"] === undefined)) {
      throw this.#refused(response.status, found ?? { error: { message: text } });
    }
    if (!found) throw this.#failed("its answer is no JSON object");
    return found;
  }

  /** What a server said was wrong. */
  #refused(status: number, found: Json): TandemError {
    const said = isObject(found["error"]) ? found["error"] : found;
    const words = [said["message"], said["detail"], found["error"]].find((word) => typeof word === "string");
    const message = (words ?? "").slice(0, MAX_MESSAGE).trim() || `HTTP status ${status}`;
    const own = typeof said["code"] === "string" ? said["code"] : "";
    const overflow = own === "context_length_exceeded" || said["type"] === "exceed_context_size_error";
    const invalid = status === 400 || status === 404 || status === 422;
    const code = overflow ? "context_overflow" : invalid ? "request_invalid" : "remote_failed";
    return new TandemError(code, this.#hide(message), {
      status: status >= 400 ? status : 502,
      type: typeof said["type"] === "string" ? said["type"] : invalid ? "invalid_request_error" : "server_error",
      param: typeof said["param"] === "string" ? said["param"] : null,
    });
  }

  #failed(detail: string): TandemError {
    return new TandemError("remote_failed", `${this.#base}: ${detail}`, { status: 502 });
  }

  /** Whatever was thrown, as ours. */
  #told(error: unknown, controller: AbortController): TandemError {
    if (this.#closed) return this.#closed;
    if (controller.signal.aborted) return new TandemError("aborted", "stopped");
    if (error instanceof TandemError) return error;
    const why = error instanceof Error ? error.message : String(error);
    const hint = "not reachable from this page: is it running, and does it allow this origin (CORS)?";
    return this.#failed(this.#hide(`${hint} (${why})`));
  }

  /** Some servers repeat the key they were given. */
  #hide(message: string): string {
    return this.#key ? message.replaceAll(this.#key, "***") : message;
  }

  #count({ usage, timings }: ChatCompletion | Completion): void {
    this.#done.requests += 1;
    if (timings) this.#done.tokens_per_s = timings.decode_tokens_per_s;
    if (!usage) return;
    const sum = this.#done.usage;
    sum.prompt_tokens += usage.prompt_tokens;
    sum.completion_tokens += usage.completion_tokens;
    sum.total_tokens += usage.total_tokens;
    sum.prompt_tokens_details.cached_tokens += usage.prompt_tokens_details.cached_tokens;
  }
}

function parse(text: string): Json | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return isObject(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

/** `http://host:port` stands for its `/v1`, where all such servers have it. */
function baseOf(text: string | URL): string {
  const invalid = (why: string) =>
    new TandemError("request_invalid", `baseURL: ${why}`, { status: 400, type: "invalid_request_error", param: "baseURL" });
  if (!URL.canParse(text)) throw invalid("is not a web address");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw invalid("is not a web address");
  if (url.username !== "" || url.password !== "") throw invalid("has a password in it; pass it as `headers`");
  const path = url.pathname.replace(/\/+$/, "");
  return url.origin + (path === "" ? "/v1" : path);
}
