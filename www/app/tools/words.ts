/** What a run tells, in plain words. */
import type { AgentEnding, RequestCard } from "tandem-llm";
import type { RunRecord, StepRecord } from "../store/records.ts";
import type { Strategy } from "../settings/settings.ts";

export const WAYS: Record<Strategy, { name: string; about: string }> = {
  tools: { name: "As it goes", about: "The model uses a tool when it wants one, and reads what it found." },
  react: { name: "Step by step", about: "It writes down what it thinks, does one thing, looks at what came of it, and goes on (ReAct)." },
  rewoo: { name: "Plan first", about: "The whole plan is shown, and nothing is called before you approve it (ReWOO)." },
};

export const REASONS: Record<RequestCard["reasons"][number], string> = {
  not_yet_allowed: "This tool has not been allowed to connect there yet.",
  any_address: "The model chose the address: you did not write it, and no list has it.",
  after_foreign_text: "Before this, the model read text that somebody else wrote, which may have told it to ask.",
  from_evidence: "Part of it comes from what a tool found, after you approved the plan.",
  changes: "It changes something at the other end.",
};

export const WARNINGS: Record<RequestCard["warnings"][number], string> = {
  punycode: "The name of the host has letters that look like others.",
  long_host: "The name of the host is unusually long: it may carry something out.",
  hidden_characters: "There are characters that are not seen; they are spelled out below.",
  looks_encoded: "There is a long run of letters and digits, as hidden data has.",
};

/** Who wrote an argument. */
export function writer(source: string): string {
  if (source === "person") return "you";
  if (source === "model") return "the model";
  if (source === "plan") return "the plan";
  if (source === "page") return "this page";
  return source.startsWith("tool:") ? `found by ${source.slice("tool:".length).replaceAll("+", " and ")}` : source;
}

/** Whose text was read: a tool's, from where. */
export function reader(foreign: string): string {
  return foreign.replace(/^tool:/, "").replace(" https://", " at ");
}

/** What a tool found, without the lines that tell a model where it begins and ends. */
export function contentOf(result: string): string {
  return /^\[result (\w+) from [^\n]*\]\n([\s\S]*)\n\[end of result \1\]$/.exec(result)?.[2] ?? result;
}

/** How a run ended, where it was not with an answer. */
export const ENDINGS: Partial<Record<AgentEnding, string>> = {
  declined: "You declined the plan: nothing was called.",
  steps: "The model was asked as often as it may be, and had no answer.",
  tokens: "The model wrote as much as it may, and had no answer.",
  time: "The time was up before there was an answer.",
  too_many_errors: "The model made more mistakes than it may mend.",
  plan_changed: "What was to be done was not the plan that you approved: it was stopped.",
  internal: "Something in the agent broke.",
};

/** What became of a request. */
export function fateOf(request: StepRecord, run: RunRecord): string {
  if (request.decision === "allowed") return "went";
  if (request.decision !== "asked") return `refused: ${request.decision.replaceAll("_", " ")}`;
  const said = run.steps.find(
    ({ kind, call, url, at_ms }) => kind === "consent" && call === request.call && url === request.url && at_ms >= request.at_ms,
  );
  if (!said) return "not answered";
  return said.approved ? "went, as you allowed" : "you said no";
}
