/**
 * What the page and the worker say to each other. This map is the only place that
 * knows: client and worker are both typed from it, and `tests/protocol.rs` holds it to
 * the engine's methods.
 */
import type { PlainError } from "./errors.ts";
import type { ChatCompletion, ChatCompletionChunk, Completion, EngineStats } from "./openai.ts";
import type { ModelPlace } from "./storage/place.ts";
import type {
  Capabilities,
  Detokenized,
  Device,
  LabelScore,
  LoadProgress,
  Scored,
  StorageOptions,
  Tokenized,
} from "./types.ts";

/** Each call: what it takes, what it answers, and what it tells on the way. Requests to
 * the engine are JSON text: it reads them itself. */
export interface Calls {
  /** Loads a model in place of the one there is. */
  load: { request: LoadRequest; reply: Capabilities; event: LoadProgress };
  /** `chat.completions`. */
  chat: { request: string; reply: ChatCompletion; event: ChatCompletionChunk };
  /** `completions`. */
  complete: { request: string; reply: Completion; event: Completion };
  /** How likely a text is. */
  score: { request: string; reply: Scored; event: never };
  /** Which label fits a text. */
  classify: { request: string; reply: LabelScore[]; event: never };
  /** A text's ids. */
  tokenize: { request: string; reply: Tokenized; event: never };
  /** Ids' text. */
  detokenize: { request: string; reply: Detokenized; event: never };
  /** What was done so far. */
  stats: { request: null; reply: EngineStats; event: never };
  /** A run of an agent: what happens goes in, what is to be done comes out. Answered at
   * once, whatever else is under way. */
  agent: { request: AgentRequest; reply: AgentReply; event: never };
  /** Panics, here or on another thread: there to test that the page survives it. */
  crash: { request: null | "thread"; reply: null; event: never };
}

export type CallName = keyof Calls;

/** How models run. */
export interface LoadOptions {
  device: Device;
  contextTokens?: number;
  memoryBudgetBytes?: number;
}

export interface LoadRequest {
  target: ModelPlace;
  draft?: ModelPlace;
  options: LoadOptions;
  storage: StorageOptions;
  /** Where the engine is, if not beside the worker. */
  wasmUrl?: string;
  /** The most threads to compute on. */
  threads?: number;
}

/** Something about a run; texts are JSON, the words of `src/agent/run`. */
export type AgentRequest =
  | { begin: string; wasmUrl?: string }
  | { replay: string; wasmUrl?: string }
  | { run: number; at_ms: number; event: string }
  | { run: number; transcript: true }
  | { run: number; end: true };

/** Which run; its actions, or its transcript. */
export interface AgentReply {
  run: number;
  text: string;
}

/** Page to worker. */
export type ToWorker =
  /** A call; its events are told only where they are wanted. */
  | { [N in CallName]: { id: number; call: N; request: Calls[N]["request"]; events: boolean } }[CallName]
  | { id: number; abort: true }
  /** So many of a call's events were taken: the worker does not run far ahead. */
  | { id: number; taken: number };

/** Worker to page. */
export type FromWorker =
  | { id: number; event: Calls[CallName]["event"] }
  | { id: number; reply: Calls[CallName]["reply"] }
  | { id: number; error: PlainError }
  /** The engine is gone: every call has failed and none will be answered. */
  | { fatal: PlainError };
