/** One reply from the engine, whichever of its ways fits, as a series of news. */
import type {
  ChatCompletionChunk,
  ChatMessage,
  Completion,
  Round,
  SpeculationStats,
  Tandem,
  Timings,
  TokenLogprob,
  Usage,
} from "tandem-llm";
import { inspectionOf, samplingOf, thinkingOf } from "../settings/request.ts";
import type { Settings } from "../settings/settings.ts";
import type { ReplyStats, TracedToken } from "../store/records.ts";

/** What is new in a reply. */
export interface News {
  text: string;
  thinking: string;
  tokens: Omit<TracedToken, "at_ms">[];
  round: Round | null;
}

/** A reply's end. */
export interface Ending {
  reason: "stop" | "length" | "tool_calls";
  stats: ReplyStats | null;
}

/** What of a whole reply tells how it ended. */
interface EndOf {
  choices: readonly { finish_reason?: Ending["reason"] | null }[];
  usage?: Usage | null | undefined;
  speculation?: SpeculationStats | null | undefined;
  timings?: Timings | null | undefined;
}

/** What has been said, the part of a reply that is to be continued last. */
export interface Asked {
  messages: readonly { role: "user" | "assistant"; text: string }[];
  /** Goes on from here in the last, open reply; null for a new one. */
  begun: string | null;
  settings: Settings;
}

/**
 * Asks for a reply and tells its news as they come.
 *
 * @throws {TandemError} as the engine does; `aborted` where the signal says so.
 */
export async function ask(
  engine: Tandem,
  asked: Asked,
  signal: AbortSignal,
  onNews: (news: News) => void,
): Promise<Ending> {
  if (!engine.capabilities.has_chat_template) return continueText(engine, textOf(asked), asked, signal, onNews);
  if (asked.begun !== null) {
    const messages = messagesOf(asked);
    const { token_ids: prompt } = await engine.tokenize({ messages }, { signal });
    const { token_ids: begun } = await engine.tokenize({ text: asked.begun, add_special: false }, { signal });
    return continueText(engine, [...prompt, ...begun], asked, signal, onNews);
  }
  return reply(engine, asked, signal, onNews);
}

async function reply(engine: Tandem, asked: Asked, signal: AbortSignal, onNews: (news: News) => void): Promise<Ending> {
  const { settings } = asked;
  const stream = await engine.chat.completions.create(
    {
      messages: messagesOf(asked),
      stream: true,
      ...streamed(settings),
      ...thinkingOf(settings),
      ...inspectionOf(settings),
    },
    { signal },
  );
  for await (const chunk of stream) onNews(newsOf(chunk));
  return endingOf(await stream.final());
}

async function continueText(
  engine: Tandem,
  prompt: string | readonly number[],
  { settings }: Asked,
  signal: AbortSignal,
  onNews: (news: News) => void,
): Promise<Ending> {
  const { top_logprobs } = inspectionOf(settings);
  const body = { prompt, stream: true, ...streamed(settings), ...(top_logprobs ? { logprobs: top_logprobs } : {}) } as const;
  const stream = await engine.completions.create(body, { signal });
  for await (const chunk of stream) onNews(textNewsOf(chunk));
  return endingOf(await stream.final());
}

/** With news of every round. */
function streamed(settings: Settings) {
  const sampling = samplingOf(settings);
  return { ...sampling, speculation: { ...sampling.speculation, rounds: true } };
}

/** The conversation as requests have it. */
export function messagesOf({ messages, settings }: Asked): ChatMessage[] {
  const said: ChatMessage[] = messages.map(({ role, text }) => ({ role, content: text }));
  return settings.system.trim() ? [{ role: "system", content: settings.system }, ...said] : said;
}

/** A model that was not made to chat goes on from what stands there. */
function textOf({ messages, begun, settings }: Asked): string {
  const said = messages.map(({ text }) => text);
  if (settings.system.trim()) said.unshift(settings.system);
  return said.join("\n") + (begun ?? "");
}

/** What a piece of a stream tells. */
export function newsOf(chunk: ChatCompletionChunk): News {
  const choice = chunk.choices[0];
  return {
    text: choice?.delta.content ?? "",
    thinking: choice?.delta.reasoning_content ?? "",
    tokens: (choice?.logprobs?.content ?? []).map(traced),
    round: chunk.round ?? null,
  };
}

function textNewsOf(chunk: Completion): News {
  const choice = chunk.choices[0];
  const lists = choice?.logprobs;
  const tokens = (lists?.tokens ?? []).map((text, at) => ({
    text,
    p: Math.exp(lists?.token_logprobs[at] ?? 0),
    by: null,
    top: Object.entries(lists?.top_logprobs[at] ?? {}).map(([text, logprob]) => ({ text, p: Math.exp(logprob) })),
  }));
  return { text: choice?.text ?? "", thinking: "", tokens, round: chunk.round ?? null };
}

function traced(token: TokenLogprob): Omit<TracedToken, "at_ms"> {
  return {
    text: token.token,
    p: Math.exp(token.logprob),
    by: token.source,
    top: token.top_logprobs.map(({ token, logprob }) => ({ text: token, p: Math.exp(logprob) })),
  };
}

/** A reply's end, out of the whole. */
export function endingOf({ choices, usage, speculation, timings }: EndOf): Ending {
  return {
    reason: choices[0]?.finish_reason ?? "stop",
    stats:
      usage && speculation && timings
        ? {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.prompt_tokens_details.cached_tokens,
            completion_tokens: usage.completion_tokens,
            ...timings,
            ...speculation,
          }
        : null,
  };
}
