/**
 * Language models inside a web page.
 *
 * ```ts
 * const engine = await Tandem.load();
 * const stream = await engine.chat.completions.create({
 *   messages: [{ role: "user", content: "Tell me a story." }],
 *   stream: true,
 * });
 * for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content ?? "");
 * ```
 *
 * @module
 */
export {
  Tandem,
  type ChatCompletions,
  type ChatStream,
  type Completions,
  type CompletionStream,
  type RequestOptions,
} from "./engine.ts";
export type {
  AgentEnding,
  AgentMessage,
  AgentParams,
  AgentResult,
  AgentStep,
  AgentTaint,
  AgentTool,
  AllowedFetch,
  Decision,
  FetchedText,
  PlanCard,
  RequestCard,
  RequestSlot,
  RequestTemplate,
  Sandbox,
  ShownArgument,
  ToolContext,
  ToolManifest,
  ToolResponse,
} from "./agent.ts";
export { TandemError } from "./errors.ts";
export type { ModelStorage } from "./storage/storage.ts";
export type { StoredFile } from "./storage/store.ts";
export { Stream } from "./stream.ts";
export type * from "./openai.ts";
export type {
  Capabilities,
  ClassifyParams,
  ConnectOptions,
  Detokenized,
  DetokenizeParams,
  Device,
  HubModel,
  LabelScore,
  LoadOptions,
  LoadProgress,
  ModelSource,
  ReadProgress,
  ScoreParams,
  Scored,
  StorageOptions,
  Tokenized,
  TokenizeParams,
} from "./types.ts";
