/** Settings as the engine's requests have them. */
import type { SamplingParams, SpeculationParams } from "tandem-llm";
import { DEFAULTS, type Settings } from "./settings.ts";

/** The alternatives kept of each token. */
const N_ALTERNATIVES = 5;

/** What both kinds of request share. What is as the engine has it anyway is left out. */
export function samplingOf(settings: Settings): SamplingParams & { max_tokens: number } {
  const { seed, stop, schema, max_tokens } = settings;
  return {
    max_tokens,
    temperature: settings.temperature,
    ...(settings.top_p < 1 ? { top_p: settings.top_p } : {}),
    ...(settings.top_k > 0 ? { top_k: settings.top_k } : {}),
    ...(settings.min_p > 0 ? { min_p: settings.min_p } : {}),
    ...(settings.repetition_penalty !== 1 ? { repetition_penalty: settings.repetition_penalty } : {}),
    ...(settings.presence_penalty !== 0 ? { presence_penalty: settings.presence_penalty } : {}),
    ...(settings.frequency_penalty !== 0 ? { frequency_penalty: settings.frequency_penalty } : {}),
    ...(seed === null ? {} : { seed }),
    ...(stop.length > 0 ? { stop } : {}),
    ...(schema.trim() ? { response_format: formatOf(schema) } : {}),
    speculation: speculationOf(settings),
  };
}

/** What is asked of chats beside that. */
export function inspectionOf({ inspect }: Settings): { logprobs?: true; top_logprobs?: number } {
  return inspect ? { logprobs: true, top_logprobs: N_ALTERNATIVES } : {};
}

/** Whether models that can think are asked to. */
export function thinkingOf({ thinking }: Settings): { reasoning_effort?: string } {
  return thinking ? {} : { reasoning_effort: "none" };
}

function speculationOf(settings: Settings): SpeculationParams {
  const { speculation: mode, drafter, verification } = settings;
  return {
    mode,
    ...(mode === "fixed" ? { draft_length: settings.draft_length } : {}),
    ...(drafter === "default" || mode === "off" ? {} : { drafter }),
    ...(verification === DEFAULTS.verification ? {} : { verification }),
  };
}

function formatOf(schema: string): NonNullable<SamplingParams["response_format"]> {
  return { type: "json_schema", json_schema: { name: "reply", schema: parseSchema(schema), strict: true } };
}

/** A schema's text as an object.
 *
 * @throws {SyntaxError} where it is none. */
export function parseSchema(text: string): Record<string, unknown> {
  const schema: unknown = JSON.parse(text);
  if (typeof schema === "object" && schema !== null && !Array.isArray(schema)) {
    return schema as Record<string, unknown>;
  }
  throw new SyntaxError("a JSON schema is an object");
}
