/**
 * What the page and the worker say to each other. This map is the only place that
 * knows: client and worker are both typed from it.
 */
import type { PlainError } from "./errors.ts";
import type { ChatMessage, Device, LoadProgress, ModelInfo, ModelSource, ReplyEnd, SamplingOptions } from "./types.ts";

/** Each call: what it takes, what it answers, and what it tells on the way. */
export interface Calls {
  /** Loads a model in place of the one there is. */
  load: { request: LoadRequest; reply: ModelInfo; event: LoadProgress };
  /** Continues a prompt, piece by piece. */
  generate: { request: GenerateRequest; reply: ReplyEnd; event: string };
  /** Panics: there to test that the page survives it. */
  crash: { request: null; reply: null; event: never };
}

export type CallName = keyof Calls;

export interface LoadRequest {
  target: ModelSource;
  draft?: ModelSource;
  device: Device;
}

export interface GenerateRequest {
  /** A conversation for the model's chat template, or text to continue. */
  prompt: { messages: readonly ChatMessage[] } | { text: string };
  sampling: SamplingOptions;
}

/** Page to worker. */
export type ToWorker =
  | { [N in CallName]: { id: number; call: N; request: Calls[N]["request"] } }[CallName]
  | { id: number; abort: true };

/** Worker to page. */
export type FromWorker =
  | { id: number; event: Calls[CallName]["event"] }
  | { id: number; reply: Calls[CallName]["reply"] }
  | { id: number; error: PlainError }
  /** The engine is gone: every call has failed and none will be answered. */
  | { fatal: PlainError };
