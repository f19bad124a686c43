/** What is stored of conversations, and what an export holds: plain data, checked on the
 * way in by `transfer.ts`. */
import type { AgentEnding, AgentTaint, ShownArgument } from "tandem-llm";
import type { Settings, Strategy } from "../settings/settings.ts";

/** A conversation. Its messages are stored beside it, not in it. */
export interface ConversationRecord {
  id: string;
  title: string;
  /** Whether the title is the person's own; otherwise it follows the first message. */
  named: boolean;
  /** Milliseconds since 1970. */
  created: number;
  updated: number;
  /** The message at the end of the branch in view; null in an empty conversation. */
  leaf: string | null;
  /** What stands in the composer. */
  draft: string;
  settings: Settings;
}

/** How a message came to its end. `streaming` in the store means: it did not. */
export type MessageStatus = "whole" | "streaming" | "stopped" | "length" | "interrupted" | "failed";

/** A message. Those that share a parent are versions of each other. */
export interface MessageRecord {
  id: string;
  conversation: string;
  parent: string | null;
  role: "user" | "assistant";
  created: number;
  text: string;
  /** What the model thought before it spoke. */
  thinking: string;
  status: MessageStatus;
  /** The model that wrote it. */
  model: string | null;
  problem: Problem | null;
  stats: ReplyStats | null;
  trace: TracedToken[];
  /** What was done with tools to get there; null where they had no part in it. */
  run: RunRecord | null;
}

/** A run of an agent: what a reply came out of. */
export interface RunRecord {
  strategy: Strategy;
  steps: StepRecord[];
  /** Null where it never came to its end. */
  ending: AgentEnding | null;
  /** What had been read by its end: the next run of the branch goes on with that. */
  taint: AgentTaint;
  /** What the person has allowed for the rest of the conversation. */
  grants: { tool: string; origin: string }[];
}

/** Something that was done in a run. Texts are what a model or a tool said: never markup. */
export interface StepRecord {
  kind: "model" | "tool" | "request" | "consent" | "mend";
  at_ms: number;
  took_ms: number;
  purpose: "act" | "plan" | "solve" | null;
  /** What the model said, what the tool's result was, or what was wrong. */
  text: string;
  tool: string;
  /** The call it belongs to. */
  call: string;
  arguments: ShownArgument[];
  is_error: boolean;
  n_hidden: number;
  n_cut: number;
  n_tokens: number;
  url: string;
  /** Of a request: `allowed`, `asked`, or why not. */
  decision: string;
  /** Of a question to the person: what they said. */
  approved: boolean | null;
  /** Whose text had been read by then. */
  foreign: string[];
}

/** A request that left this machine, noted before it did. */
export interface RequestRecord {
  id: string;
  at: number;
  /** Where it was made; empty where that was in none. */
  conversation: string;
  /** What for: a tool's call, a model's files, or a reply by a server of the person's. Without
   * it (before there were others) a tool's. */
  kind?: "tool" | "download" | "server";
  /** The tool that made it; empty where none did. */
  tool: string;
  method: string;
  url: string;
  body: string;
  /** HTTP's; null where no answer came, or none has yet. */
  status: number | null;
  n_bytes: number;
  took_ms: number;
  /** Why there was no answer; empty where there is one, or may still be. */
  failed: string;
}

/** What went wrong, as the person is told. */
export interface Problem {
  code: string;
  message: string;
}

/** What a reply took. */
export interface ReplyStats {
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  prefill_tokens_per_s: number;
  decode_tokens_per_s: number;
  num_drafts: number;
  num_draft_tokens: number;
  num_accepted_tokens: number;
  accepted_per_position: number[];
  mean_acceptance_length: number;
  /** Against plain decoding, as measured; null where it never was. */
  speedup: number | null;
}

/** Who proposed a token: the target itself, the draft model, the text so far, or a
 * grammar that left no choice. */
export type Proposer = "target" | "draft" | "ngram" | "forced";

/** A token of a reply. */
export interface TracedToken {
  text: string;
  /** Its probability under the target, 0 to 1. */
  p: number;
  /** Null where the engine does not say. */
  by: Proposer | null;
  /** The likeliest tokens here, itself among them where it is one. */
  top: { text: string; p: number }[];
  /** When it arrived: milliseconds since the reply's first token. */
  at_ms: number;
}
