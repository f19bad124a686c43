/** A reply that may use tools: a run of an agent, told as news and steps. */
import {
  TandemError,
  type AgentResult,
  type AgentStep,
  type AgentTool,
  type ChatCompletionChunk,
  type Sandbox,
  type Tandem,
} from "tandem-llm";
import { endingOf, messagesOf, newsOf, type Asked, type Ending, type News } from "../chat/asking.ts";
import type { Doing } from "../chat/message.svelte.ts";
import { inspectionOf, samplingOf, thinkingOf } from "../settings/request.ts";
import type { ReplyStats, RunRecord, StepRecord } from "../store/records.ts";
import type { Consent } from "./consent.svelte.ts";
import { ENDINGS } from "./words.ts";

export interface Acting {
  asked: Asked;
  tools: readonly AgentTool[];
  /** The run before in the same branch. */
  before: RunRecord | null;
  consent: Consent;
  sandbox: (toolOf: (url: string) => string) => Sandbox;
  signal: AbortSignal;
}

/** Who hears how it goes. */
export interface Watching {
  onNews: (news: News) => void;
  /** What was written so far was not the reply. */
  onClear: () => void;
  onRun: (run: RunRecord) => void;
  onDoing: (doing: Doing) => void;
}

/**
 * Gets from a question to a reply by way of tools.
 *
 * @throws {TandemError} as the engine does; with the run's ending as its code where there is
 * no answer.
 */
export async function act(engine: Tandem, acting: Acting, watching: Watching): Promise<Ending & { answer: string }> {
  let plan: string | undefined;
  for (;;) {
    const { edited, ...ended } = await run(engine, acting, watching, plan);
    if (edited === undefined) return ended;
    // The plan as the person would have it: shown again, since what counts is what was seen.
    plan = edited;
  }
}

async function run(engine: Tandem, { asked, tools, before, consent, sandbox, signal }: Acting, watching: Watching, plan?: string) {
  const { settings } = asked;
  const { strategy } = settings;
  const { taint = { foreign: [], private: [] }, grants = [] } = before ?? {};
  let record: RunRecord = { strategy, steps: [], ending: null, taint, grants };
  const tell = (more: Partial<RunRecord>) => watching.onRun((record = { ...record, ...more }));
  const tally = new Tally();
  const calls = new Calls();
  let edited: string | undefined;
  let aside = "";
  const sampling = samplingOf(settings);
  const result = await engine.agent.run({
    messages: messagesOf(asked),
    tools,
    strategy,
    taint,
    grants,
    signal,
    developing: import.meta.env.MODE === "development",
    ...(plan === undefined ? {} : { plan }),
    request: {
      ...sampling,
      speculation: { ...sampling.speculation, rounds: true },
      ...thinkingOf(settings),
      ...inspectionOf(settings),
    },
    sandbox: sandbox((url) => record.steps.findLast((step) => step.kind === "request" && step.url === url)?.tool ?? ""),
    approve: async (card) => {
      watching.onDoing({ what: card.about === "plan" ? "waiting for you to look at the plan" : "waiting for you to decide", text: "" });
      const answer = await consent.ask(card, signal);
      watching.onDoing({ what: "working", text: "" });
      if (typeof answer !== "object") return answer;
      edited = answer.plan;
      return false;
    },
    onChunk: (chunk, purpose) => {
      const news = newsOf(chunk);
      tally.heard(chunk);
      const called = calls.heard(chunk);
      if (called) watching.onDoing(called);
      if (isReply(strategy, purpose)) {
        watching.onNews(news);
        return;
      }
      // Thoughts and plans are not the reply.
      watching.onNews({ ...news, text: "" });
      aside += news.text;
      watching.onDoing({ what: purpose === "plan" ? "planning" : "thinking", text: aside });
    },
    onStep: (step) => {
      tally.stepped(step);
      calls.clear();
      aside = "";
      // The model's words were on the way to a call, and are kept with the step.
      const last = step.kind === "model" && isReply(strategy, step.purpose) && !step.calls;
      if (step.kind === "model" && !last) watching.onClear();
      watching.onDoing({ what: doingAfter(step), text: "" });
      tell({ steps: [...record.steps, recordOf(step, last)], taint: step.taint });
    },
  });
  tell({ ending: edited === undefined ? result.ending : null, taint: result.taint, grants: result.grants });
  if (edited !== undefined && !signal.aborted) return { edited, ...tally.ending(), answer: "" };
  fail(result);
  return { edited: undefined, ...tally.ending(), answer: result.answer ?? "" };
}

/** Whether what the model writes is what the person is to read. */
function isReply(strategy: RunRecord["strategy"], purpose: AgentStep["purpose"]): boolean {
  return purpose === "solve" || (strategy === "tools" && purpose === "act");
}

function fail({ ending, detail }: AgentResult): void {
  if (ending === "answered" || ending === "declined") return;
  if (ending === "aborted") throw new TandemError("aborted", "stopped");
  if (ending === "engine_failed") {
    // `code: words`, as the engine had them.
    const [code = "internal", ...words] = (detail ?? "").split(": ");
    throw new TandemError(code, words.join(": "));
  }
  throw new TandemError(ending, ENDINGS[ending] ?? ending);
}

function doingAfter(step: AgentStep): string {
  const calls = (step.calls ?? []) as { function?: { name?: string } }[];
  if (calls.length > 0) return `calling ${calls.map((call) => call.function?.name ?? "a tool").join(", ")}`;
  return step.kind === "tool" ? "reading what was found" : "working";
}

/** A step as it is kept: without its prompt, which the conversation has anyway. */
function recordOf(step: AgentStep, is_reply: boolean): StepRecord {
  return {
    kind: step.kind,
    at_ms: Math.round(step.at_ms),
    took_ms: Math.round(step.took_ms),
    purpose: step.purpose ?? null,
    text: (step.kind === "tool" ? step.result : (step.note ?? (is_reply ? "" : step.text))) ?? "",
    tool: step.tool ?? "",
    call: step.call ?? "",
    arguments: step.arguments ?? [],
    is_error: step.is_error,
    n_hidden: step.n_hidden,
    n_cut: step.n_cut,
    n_tokens: step.usage?.completion_tokens ?? 0,
    url: step.url ?? "",
    decision: step.decision ?? "",
    approved: step.approved ?? null,
    foreign: step.taint.foreign,
  };
}

/** The calls of a reply in the making, as far as they are written. */
class Calls {
  readonly #written = new Map<number, { name: string; given: string }>();

  /** What is being called, where a piece of a stream says more of that. */
  heard({ choices }: ChatCompletionChunk): Doing | undefined {
    const deltas = choices[0]?.delta.tool_calls ?? [];
    for (const { index, function: said } of deltas) {
      const { name, given } = this.#written.get(index) ?? { name: "", given: "" };
      this.#written.set(index, { name: name + (said.name ?? ""), given: given + said.arguments });
    }
    if (deltas.length === 0) return undefined;
    const written = [...this.#written.values()];
    return { what: `calling ${written.map(({ name }) => name).join(", ")}`, text: written.map(({ given }) => given).join("\n"), verbatim: true };
  }

  clear(): void {
    this.#written.clear();
  }
}

/** What all the questions to the model took together. */
class Tally {
  #reason: Ending["reason"] = "stop";
  #stats: ReplyStats | null = null;

  heard({ choices }: ChatCompletionChunk): void {
    const reason = choices[0]?.finish_reason;
    if (reason) this.#reason = reason === "tool_calls" ? "stop" : reason;
  }

  stepped({ usage, speculation, timings }: AgentStep): void {
    const { stats } = endingOf({ choices: [], usage, speculation, timings });
    if (!stats) return;
    const before = this.#stats;
    this.#stats = {
      ...stats,
      completion_tokens: stats.completion_tokens + (before?.completion_tokens ?? 0),
      num_drafts: stats.num_drafts + (before?.num_drafts ?? 0),
      num_draft_tokens: stats.num_draft_tokens + (before?.num_draft_tokens ?? 0),
      num_accepted_tokens: stats.num_accepted_tokens + (before?.num_accepted_tokens ?? 0),
    };
  }

  ending(): Ending {
    return { reason: this.#reason, stats: this.#stats };
  }
}
