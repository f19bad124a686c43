/** Language models inside a web page. */
export { Tandem, type Reply, type StreamOptions } from "./engine.ts";
export { TandemError } from "./errors.ts";
export type {
  ChatMessage,
  Device,
  FinishReason,
  LoadOptions,
  LoadProgress,
  ModelInfo,
  ModelSource,
  ReplyEnd,
  SamplingOptions,
  Timings,
  Usage,
} from "./types.ts";
