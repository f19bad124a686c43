/**
 * Drives agents: the engine says what is to be done (`src/agent/run`), and this does it:
 * asks the model, calls tools, fetches exactly what was allowed, shows the person what
 * they are to decide. It decides nothing.
 */
import { TandemError, toPlain } from "./errors.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionParams,
  ChatMessage,
  SpeculationStats,
  Timings,
  Usage,
} from "./openai.ts";
import type { AgentReply, AgentRequest } from "./protocol.ts";

/** What a tool says of itself; see `src/agent/tool.rs`. */
export interface ToolManifest {
  name: string;
  description: string;
  /** A JSON schema of type `object`: types, required names, ranges, lengths, choices. */
  parameters: Record<string, unknown>;
  /** Exactly those origins that its requests go to; `["*"]` for any, asked for each time. */
  origins?: string[];
  requests?: RequestTemplate[];
  /** Its results hold what is the person's own. */
  reads_private?: boolean;
  /** Its results hold what somebody else may have written, though it has no requests. */
  reads_foreign?: boolean;
  /** Of an `html` result the model reads the text. */
  result?: "text" | "html";
  /** A script that runs in the sandbox and sets `tool`, an async function of the arguments
   * and `ctx`. */
  code?: string;
}

/** A request that a tool may make, with slots. */
export interface RequestTemplate {
  name: string;
  method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** `{slot}` may stand in path and query. */
  url: string;
  slots?: Record<string, RequestSlot>;
  body?: "json" | "text";
}

/** What may stand in a slot. */
export type RequestSlot =
  | { type: "number"; min: number; max: number; decimals?: number }
  | { type: "integer"; min: number; max: number }
  | { type: "choice"; of: string[] }
  | { type: "text"; max_chars: number }
  | { type: "url" };

/** What a tool's code has beside its arguments. */
export interface ToolContext {
  /** Makes one of the declared requests; its text, or an error whose `code` says why not. */
  fetch(request: string, slots?: Record<string, unknown>, more?: { headers?: Record<string, string>; body?: string }): Promise<ToolResponse>;
  signal: AbortSignal;
}

/** What came of a request. */
export interface ToolResponse {
  status: number;
  text: string;
}

/** A tool: its code in the manifest, or a function of the page's own. */
export interface AgentTool extends ToolManifest {
  run?: (args: Record<string, unknown>, ctx: ToolContext) => unknown;
}

/** Where tools run and requests are made; `www/sandbox` has one. */
export interface Sandbox {
  /** Runs a tool's code where it can reach nothing but `ctx`. */
  run(code: string, args: Record<string, unknown>, ctx: ToolContext): Promise<unknown>;
  /** Makes a request, no other than `fetch`, within its bounds. */
  fetch(fetch: AllowedFetch, signal: AbortSignal): Promise<FetchedText>;
}

/** Exactly what may be fetched. */
export interface AllowedFetch {
  url: string;
  origin: string;
  method: string;
  headers: Record<string, string>;
  body: string | null;
  max_response_bytes: number;
  timeout_ms: number;
  first_byte_ms: number;
  /** The content security policy of the frame that fetches it. */
  csp: string;
  init: RequestInit;
}

/** An answer, as it came. */
export interface FetchedText {
  url: string;
  status: number;
  content_type: string;
  n_bytes: number;
  text: string;
}

/** What was read before, and hangs on it. */
export interface AgentTaint {
  foreign: string[];
  private: string[];
}

/** An argument, and who wrote it: `person`, `page`, `model`, `plan`, `tool:NAME`. */
export interface ShownArgument {
  name: string;
  value: string;
  source: string;
}

/** One request, as the person is to see it. Draw it from these fields alone. */
export interface RequestCard {
  id: number;
  about: "request";
  tool: string;
  method: string;
  url: string;
  host: string;
  origin: string;
  path: string;
  query: { name: string; value: string }[];
  body: string | null;
  arguments: ShownArgument[];
  reasons: ("not_yet_allowed" | "any_address" | "after_foreign_text" | "from_evidence" | "changes")[];
  warnings: ("punycode" | "long_host" | "hidden_characters" | "looks_encoded")[];
  foreign: string[];
  may_always: boolean;
  digest: string;
}

/** A plan, before anything of it is done. */
export interface PlanCard {
  id: number;
  about: "plan";
  steps: {
    number: number;
    tool: string;
    arguments: ShownArgument[];
    requests: { method: string; url: string }[];
    said: string;
  }[];
  digest: string;
}

/** What the person decides. `always`: this tool at this origin, for this run. */
export type Decision = boolean | "always";

/** Something that was done. */
export interface AgentStep {
  index: number;
  kind: "model" | "tool" | "request" | "consent" | "mend";
  at_ms: number;
  took_ms: number;
  purpose?: "act" | "plan" | "solve";
  prompt?: ChatMessage[];
  text?: string;
  calls?: unknown[];
  usage?: Usage;
  speculation?: SpeculationStats;
  timings?: Timings;
  call?: string;
  tool?: string;
  arguments?: ShownArgument[];
  result?: string;
  is_error: boolean;
  n_hidden: number;
  n_cut: number;
  url?: string;
  decision?: string;
  card?: number;
  approved?: boolean;
  note?: string;
  taint: AgentTaint;
}

/** How a run ended. */
export type AgentEnding =
  | "answered"
  | "declined"
  | "aborted"
  | "steps"
  | "tokens"
  | "time"
  | "too_many_errors"
  | "plan_changed"
  | "engine_failed"
  | "internal";

/** What came of a run. */
export interface AgentResult {
  ending: AgentEnding;
  answer: string | null;
  detail: string | null;
  n_steps: number;
  n_calls: number;
  n_tokens: number;
  took_ms: number;
  taint: AgentTaint;
  grants: { tool: string; origin: string }[];
  /** The whole run, as JSON: it can be replayed, and resumed where it was cut off. */
  transcript: string;
}

/** A message; `source` says who wrote it where its role does not: `file:NAME`,
 * `memory:NAME`, `web:ORIGIN`. */
export type AgentMessage = ChatMessage & { source?: string };

/** What a run is given. */
export interface AgentParams {
  messages: readonly AgentMessage[];
  tools: readonly AgentTool[];
  /** `tools`: calls in the model's own form. `react`: thought, action, observation.
   * `rewoo`: a plan, confirmed before anything is called. */
  strategy?: "tools" | "react" | "rewoo";
  /** Hears of every step. */
  onStep?: (step: AgentStep) => void;
  /** Hears the model's replies as they are made, and what each was asked for. */
  onChunk?: (chunk: ChatCompletionChunk, purpose: NonNullable<AgentStep["purpose"]>) => void;
  /** With `rewoo`: a plan in the model's own form, such as one that a person has changed. It
   * stands in for the first that the model would make, and is confirmed like it. */
  plan?: string;
  /** Asks the person. Without it everything is declined. */
  approve?: (card: RequestCard | PlanCard) => Decision | Promise<Decision>;
  signal?: AbortSignal | null;
  /** Fields of every request to the model. */
  request?: Omit<ChatCompletionParams, "messages" | "tools" | "stream">;
  style?: { observations?: "user" | "tool"; grammar?: boolean; fences?: boolean };
  budget?: Record<string, number>;
  limits?: Record<string, number>;
  grants?: { tool: string; origin: string }[];
  /** `taint` of the run before, in the same conversation. */
  taint?: AgentTaint;
  /** Who replies, if not this engine: any other one, or an OpenAI client's
   * `chat.completions`. */
  completions?: { create(body: ChatCompletionParams, options: { signal: AbortSignal }): Promise<ChatCompletion> };
  /** Where tools with code run, and requests are made. */
  sandbox?: Sandbox;
  /** A transcript to go on with: everything but tools' functions comes from it. */
  resume?: string;
  /** Origins on this machine that count as public ones: for tests. */
  loopback?: string[];
  /** Tools that reach any address do so from a page on a private address too, for which a browser
   * does not keep names from leading into the network around it: while a page is developed. */
  developing?: boolean;
}

/** What a run is driven over. @internal */
export interface AgentHost {
  agent(request: AgentRequest): Promise<AgentReply>;
  chat(request: ChatCompletionParams, signal: AbortSignal, onChunk?: (chunk: ChatCompletionChunk) => void): Promise<ChatCompletion>;
}

type Action =
  | { type: "ask"; purpose: NonNullable<AgentStep["purpose"]>; request: ChatCompletionParams }
  | { type: "call"; call: string; tool: string; arguments: Record<string, unknown>; timeout_ms: number }
  | { type: "cancel"; call: string }
  | { type: "fetch"; call: string; request: number; fetch: AllowedFetch }
  | { type: "deliver"; call: string; request: number }
  | { type: "refuse"; call: string; request: number; code: string; why: string }
  | { type: "consent"; card: RequestCard | PlanCard }
  | { type: "step"; step: AgentStep }
  | { type: "finish"; outcome: Omit<AgentResult, "transcript"> };

interface Requested {
  resolve: (response: ToolResponse) => void;
  reject: (error: TandemError) => void;
  /** What came, until the run says that the tool may have it. */
  came?: ToolResponse;
}

/** A call under way. */
class Call {
  readonly stop = new AbortController();
  readonly requests = new Map<number, Requested>();
  n_requests = 0;
  #left_ms: number;
  #began_ms = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #n_waits = 0;
  readonly #onTimeout: () => void;

  constructor(timeout_ms: number, onTimeout: () => void) {
    this.#left_ms = timeout_ms;
    this.#onTimeout = onTimeout;
    this.go();
  }

  /** Its own time runs; while the person thinks it does not. */
  go(): void {
    if (this.#n_waits > 0 && --this.#n_waits > 0) return;
    this.#began_ms = performance.now();
    this.#timer = setTimeout(this.#onTimeout, this.#left_ms);
  }

  wait(): void {
    if (this.#n_waits++ > 0) return;
    clearTimeout(this.#timer);
    this.#left_ms = Math.max(0, this.#left_ms - (performance.now() - this.#began_ms));
  }

  end(): void {
    clearTimeout(this.#timer);
    this.stop.abort();
  }
}

/** Runs an agent. @internal */
export async function runAgent(host: AgentHost, params: AgentParams): Promise<AgentResult> {
  const stop = new AbortController();
  const calls = new Map<string, Call>();
  const tools = new Map(params.tools.map((tool) => [tool.name, tool]));
  const begun = await host.agent(params.resume === undefined ? { begin: JSON.stringify(config(params)) } : { replay: params.resume });
  const { run } = begun;
  const began_ms = performance.now();
  let finish!: (outcome: Omit<AgentResult, "transcript">) => void;
  let fail!: (error: unknown) => void;
  const done = new Promise<Omit<AgentResult, "transcript">>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });

  /** Events go in one after the other; their actions are begun in that order. */
  let queue: Promise<unknown> = Promise.resolve();
  const tell = (event: object): void => {
    queue = queue
      .then(() => host.agent({ run, at_ms: performance.now() - began_ms, event: JSON.stringify(event) }))
      .then(({ text }) => (JSON.parse(text) as Action[]).forEach(act))
      .catch(fail);
  };

  let given_plan = params.plan;
  /** A reply of the model's, or the plan that stands in for one. */
  const ask = ({ purpose, request }: Extract<Action, { type: "ask" }>): Promise<unknown> => {
    const { onChunk } = params;
    if (purpose !== "plan" || given_plan === undefined) {
      return host.chat(request, stop.signal, onChunk && ((chunk) => onChunk(chunk, purpose)));
    }
    const content = given_plan;
    given_plan = undefined;
    return Promise.resolve({ choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }] });
  };

  const act = (action: Action): void => {
    switch (action.type) {
      case "ask":
        void ask(action).then(
          (reply) => tell({ type: "reply", reply }),
          (error: unknown) => {
            const { code, message } = toPlain(error);
            tell({ type: "reply_failed", code, message });
          },
        );
        return;
      case "call":
        startCall(action);
        return;
      case "cancel":
        calls.get(action.call)?.end();
        calls.delete(action.call);
        return;
      case "fetch": {
        const { call, request, fetch } = action;
        const open = calls.get(call);
        const failed = (error: unknown) => {
          const code = refusals.find((known) => error instanceof Error && error.message === known) ?? "unreachable";
          tell({ type: "response", call, request, response: { type: "failed", code } });
        };
        if (!open || !params.sandbox) {
          failed(undefined);
          return;
        }
        params.sandbox.fetch(fetch, open.stop.signal).then(({ text, ...answered }) => {
          const wanted = open.requests.get(request);
          if (wanted) wanted.came = { status: answered.status, text };
          tell({ type: "response", call, request, response: { type: "answered", ...answered } });
        }, failed);
        return;
      }
      case "deliver": {
        const wanted = calls.get(action.call)?.requests.get(action.request);
        if (wanted?.came) wanted.resolve(wanted.came);
        return;
      }
      case "refuse":
        calls.get(action.call)?.requests.get(action.request)?.reject(new TandemError("request_invalid", `${action.code}: ${action.why}`));
        return;
      case "consent":
        void consent(action.card);
        return;
      case "step":
        params.onStep?.(action.step);
        return;
      case "finish":
        finish(action.outcome);
    }
  };

  const consent = async (card: RequestCard | PlanCard): Promise<void> => {
    // A person may take their time: no tool's runs meanwhile.
    const waiting = card.about === "request" ? [...calls.values()] : [];
    for (const call of waiting) call.wait();
    let decision: Decision = false;
    try {
      decision = (await params.approve?.(structuredClone(card))) ?? false;
    } finally {
      for (const call of waiting) if (!call.stop.signal.aborted) call.go();
      const always = decision === "always";
      tell({ type: "answer", card: card.id, digest: card.digest, approve: always || decision === true, always });
    }
  };

  const startCall = ({ call: id, tool: name, arguments: args, timeout_ms }: Extract<Action, { type: "call" }>): void => {
    let over = false;
    const end = (event: object) => {
      if (over) return;
      over = true;
      call.end();
      calls.delete(id);
      tell({ call: id, ...event });
    };
    const call = new Call(timeout_ms, () => end({ type: "result_failed", message: "the tool took too long" }));
    calls.set(id, call);
    const ctx: ToolContext = {
      signal: call.stop.signal,
      fetch: (request, slots = {}, more = {}) =>
        new Promise((resolve, reject) => {
          if (over) throw new TandemError("aborted", "the call is over");
          const number = call.n_requests++;
          call.requests.set(number, { resolve, reject });
          tell({ type: "request", call: id, request: number, wanted: { request, slots, ...more } });
        }),
    };
    const tool = tools.get(name);
    const running = async (): Promise<unknown> => {
      if (tool?.run) return tool.run(args, ctx);
      if (tool?.code !== undefined && params.sandbox) return params.sandbox.run(tool.code, args, ctx);
      throw new Error("there is nothing to run this tool");
    };
    running().then(
      (value) => end({ type: "result", value: value ?? null }),
      (error: unknown) => end({ type: "result_failed", message: error instanceof Error ? error.message : String(error) }),
    );
  };

  const abort = () => {
    stop.abort();
    tell({ type: "abort" });
  };
  try {
    const pending = JSON.parse(begun.text) as Action[];
    if (params.resume === undefined) tell({ type: "begin" });
    else pending.forEach(act);
    if (params.signal?.aborted) abort();
    params.signal?.addEventListener("abort", abort);
    const outcome = await done;
    await queue;
    const { text } = await host.agent({ run, transcript: true });
    return { ...outcome, transcript: text };
  } finally {
    params.signal?.removeEventListener("abort", abort);
    stop.abort();
    for (const call of calls.values()) call.end();
    await host.agent({ run, end: true }).catch(() => undefined);
  }
}

/** What a sandbox may say of a request that failed. */
const refusals = ["redirected", "content_type", "too_large", "timeout", "unreachable", "unreadable"];

function config(params: AgentParams): object {
  const { messages, strategy = "tools", request = {}, style = {}, budget = {}, limits = {}, grants = [], taint, loopback, developing } = params;
  // The manifest alone: a function does not cross.
  const tools = params.tools.map((tool) => ({ ...tool, run: undefined }));
  const page_host = developing || typeof location === "undefined" ? undefined : location.hostname;
  const chance = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
  return { strategy, messages, tools, request, style, budget, limits, grants, chance, page_host, ...(taint ? { taint } : {}), ...(loopback ? { loopback } : {}) };
}
