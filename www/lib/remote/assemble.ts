/**
 * What other servers send, in this library's shape: what they leave out is filled in, what
 * they call otherwise is renamed, and the whole is put together out of the pieces.
 */
import type {
  ChatCompletion,
  ChatCompletionChunk,
  Choice,
  Completion,
  CompletionChoice,
  Delta,
  FinishReason,
  Message,
  SpeculationStats,
  Timings,
  ToolCall,
  ToolCallDelta,
  Usage,
} from "../openai.ts";

type Json = Record<string, unknown>;

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Nothing was guessed that we know of. */
export const NO_SPECULATION: SpeculationStats = {
  num_drafts: 0,
  num_draft_tokens: 0,
  num_accepted_tokens: 0,
  accepted_per_position: [],
  mean_acceptance_length: 0,
  speedup: null,
};

/** When a request was sent, and when its first piece came; milliseconds. */
export interface Clock {
  began: number;
  first: number | undefined;
  ended: number;
}

/** A server's own figures where it gives any (llama.cpp does), else what was seen here. */
export function timingsOf(reply: Json, usage: Usage, { began, first, ended }: Clock): Timings {
  const own = isObject(reply["timings"]) ? reply["timings"] : {};
  const rate = (name: string) => (typeof own[name] === "number" ? own[name] : undefined);
  const per_s = (n: number, ms: number) => (n > 0 && ms > 0 ? (n * 1000) / ms : 0);
  const read = usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens;
  return {
    prefill_tokens_per_s:
      rate("prefill_tokens_per_s") ?? rate("prompt_per_second") ?? (first === undefined ? 0 : per_s(read, first - began)),
    decode_tokens_per_s:
      rate("decode_tokens_per_s") ?? rate("predicted_per_second") ?? per_s(usage.completion_tokens, ended - (first ?? began)),
  };
}

export function usageOf(found: unknown): Usage {
  const usage = isObject(found) ? found : {};
  const number = (from: Json, name: string) => (typeof from[name] === "number" ? from[name] : 0);
  const inner = (name: string) => (isObject(usage[name]) ? usage[name] : {});
  const prompt_tokens = number(usage, "prompt_tokens");
  const completion_tokens = number(usage, "completion_tokens");
  const details = inner("completion_tokens_details");
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: number(inner("prompt_tokens_details"), "cached_tokens") },
    completion_tokens_details: {
      accepted_prediction_tokens: number(details, "accepted_prediction_tokens"),
      rejected_prediction_tokens: number(details, "rejected_prediction_tokens"),
    },
  };
}

function head(found: Json) {
  return {
    id: typeof found["id"] === "string" ? found["id"] : "",
    created: typeof found["created"] === "number" ? found["created"] : Math.floor(Date.now() / 1000),
    model: typeof found["model"] === "string" ? found["model"] : "",
  };
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function finish(value: unknown): FinishReason | null {
  if (value === "length" || value === "tool_calls") return value;
  return typeof value === "string" ? "stop" : null; // some say `eos`, or `stop_sequence`
}

/** Thought, by the names that servers give it. */
function thought(found: Json): string | undefined {
  const value = found["reasoning_content"] ?? found["reasoning"];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A piece in our shape. `begun` remembers what came before it. */
export function chatChunk(found: Json, begun: Begun): ChatCompletionChunk {
  const choices = list(found["choices"]).map((choice, i) => {
    const index = typeof choice["index"] === "number" ? choice["index"] : i;
    const said = isObject(choice["delta"]) ? choice["delta"] : {};
    const delta: Delta = {};
    // Some leave it out; clients want it, once.
    if (begun.begins(index)) delta.role = "assistant";
    if (typeof said["content"] === "string") delta.content = said["content"];
    const reasoning = thought(said);
    if (reasoning !== undefined) delta.reasoning_content = reasoning;
    const made = list(said["tool_calls"]).map((call) => begun.number(index, call));
    if (made.length > 0) delta.tool_calls = made;
    return { index, delta, logprobs: logprobs(choice), finish_reason: finish(choice["finish_reason"]) };
  });
  const usage = isObject(found["usage"]) ? { usage: usageOf(found["usage"]) } : {};
  return { ...head(found), object: "chat.completion.chunk", choices, ...usage };
}

function logprobs(choice: Json): Choice["logprobs"] {
  const found = choice["logprobs"];
  if (!isObject(found) || !Array.isArray(found["content"])) return null;
  return { content: found["content"] as NonNullable<Choice["logprobs"]>["content"], refusal: null };
}

/** Which choices have begun, and which call a delta is of, where its server does not say. */
export class Begun {
  readonly #begun = new Set<number>();
  readonly #n_calls = new Map<number, number>();

  /** Whether this is the first of a choice. */
  begins(choice: number): boolean {
    const first = !this.#begun.has(choice);
    this.#begun.add(choice);
    return first;
  }

  number(choice: number, call: Json): ToolCallDelta {
    const n = this.#n_calls.get(choice) ?? 0;
    const fn = isObject(call["function"]) ? call["function"] : {};
    const begins = typeof call["id"] === "string" || (typeof fn["name"] === "string" && fn["name"] !== "");
    const index = typeof call["index"] === "number" ? call["index"] : begins ? n : Math.max(0, n - 1);
    const made: ToolCallDelta = { index, function: { arguments: argumentsOf(fn) } };
    if (index >= n) {
      this.#n_calls.set(choice, index + 1);
      made.id = typeof call["id"] === "string" && call["id"] !== "" ? call["id"] : newId();
      made.type = "function";
      made.function.name = text(fn["name"]);
    }
    return made;
  }
}

function newId(): string {
  return `call_${Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}

/** Some servers send an object where its text belongs. */
function argumentsOf(fn: Json): string {
  const given = fn["arguments"];
  if (isObject(given)) return JSON.stringify(given);
  return text(given);
}

export function chatWhole(found: Json, clock: Clock): ChatCompletion {
  const usage = usageOf(found["usage"]);
  const choices = list(found["choices"]).map((choice, i): Choice => {
    const said = isObject(choice["message"]) ? choice["message"] : {};
    const message: Message = { role: "assistant", content: typeof said["content"] === "string" ? said["content"] : null, refusal: null };
    const reasoning = thought(said);
    if (reasoning !== undefined) message.reasoning_content = reasoning;
    const calls = list(said["tool_calls"]).map((call): ToolCall => {
      const fn = isObject(call["function"]) ? call["function"] : {};
      return { id: text(call["id"]) || newId(), type: "function", function: { name: text(fn["name"]), arguments: argumentsOf(fn) } };
    });
    if (calls.length > 0) message.tool_calls = calls;
    const index = typeof choice["index"] === "number" ? choice["index"] : i;
    return { index, message, logprobs: logprobs(choice), finish_reason: finish(choice["finish_reason"]) ?? "stop" };
  });
  const timings = timingsOf(found, usage, clock);
  return { ...head(found), object: "chat.completion", choices, usage, speculation: NO_SPECULATION, timings };
}

/** The whole of a streamed chat completion. */
export class ChatAssembly {
  readonly #choices: Choice[] = [];
  #head = { id: "", created: 0, model: "" };
  /** What the server said of the whole, as it came. */
  #about: Json = {};

  add(chunk: ChatCompletionChunk, raw: Json): void {
    this.#head = { id: chunk.id, created: chunk.created, model: chunk.model };
    for (const name of ["usage", "timings"]) if (isObject(raw[name])) this.#about[name] = raw[name];
    for (const { index, delta, logprobs, finish_reason } of chunk.choices) {
      const choice = (this.#choices[index] ??= {
        index,
        message: { role: "assistant", content: null, refusal: null },
        logprobs: null,
        finish_reason: "stop",
      });
      const { message } = choice;
      if (delta.content !== undefined && delta.content !== "") message.content = (message.content ?? "") + delta.content;
      if (delta.reasoning_content !== undefined) {
        message.reasoning_content = (message.reasoning_content ?? "") + delta.reasoning_content;
      }
      for (const call of delta.tool_calls ?? []) {
        const calls = (message.tool_calls ??= []);
        const made = (calls[call.index] ??= { id: call.id ?? "", type: "function", function: { name: "", arguments: "" } });
        made.function.name ||= call.function.name ?? "";
        made.function.arguments += call.function.arguments;
      }
      if (logprobs) (choice.logprobs ??= { content: [], refusal: null }).content.push(...logprobs.content);
      if (finish_reason) choice.finish_reason = finish_reason;
    }
  }

  whole(clock: Clock): ChatCompletion {
    const choices = this.#choices.filter(Boolean);
    for (const { message } of choices) if (!message.tool_calls) message.content ??= "";
    const usage = usageOf(this.#about["usage"]);
    const timings = timingsOf(this.#about, usage, clock);
    return { ...this.#head, object: "chat.completion", choices, usage, speculation: NO_SPECULATION, timings };
  }
}

/** A text completion, or a piece of one. */
export function completion(found: Json): Completion {
  const choices = list(found["choices"]).map((choice, i): CompletionChoice => {
    const reason = finish(choice["finish_reason"]);
    const logprobs = isObject(choice["logprobs"]) ? (choice["logprobs"] as unknown as CompletionChoice["logprobs"]) : null;
    const index = typeof choice["index"] === "number" ? choice["index"] : i;
    return { text: text(choice["text"]), index, logprobs, finish_reason: reason === "tool_calls" ? "stop" : reason };
  });
  const usage = isObject(found["usage"]) ? { usage: usageOf(found["usage"]) } : {};
  return { ...head(found), object: "text_completion", choices, ...usage };
}

export function completionWhole(found: Json, clock: Clock): Completion {
  const usage = usageOf(found["usage"]);
  return { ...completion(found), usage, speculation: NO_SPECULATION, timings: timingsOf(found, usage, clock) };
}

/** The whole of a streamed text completion. */
export class TextAssembly {
  readonly #choices: CompletionChoice[] = [];
  #head = { id: "", created: 0, model: "" };
  #about: Json = {};

  add(piece: Completion, raw: Json): void {
    this.#head = { id: piece.id, created: piece.created, model: piece.model };
    for (const name of ["usage", "timings"]) if (isObject(raw[name])) this.#about[name] = raw[name];
    for (const { index, text, finish_reason } of piece.choices) {
      const choice = (this.#choices[index] ??= { text: "", index, logprobs: null, finish_reason: "stop" });
      choice.text += text;
      if (finish_reason) choice.finish_reason = finish_reason;
    }
  }

  whole(clock: Clock): Completion {
    const usage = usageOf(this.#about["usage"]);
    const timings = timingsOf(this.#about, usage, clock);
    const choices = this.#choices.filter(Boolean);
    return { ...this.#head, object: "text_completion", choices, usage, speculation: NO_SPECULATION, timings };
  }
}
