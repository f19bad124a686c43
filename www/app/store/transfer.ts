/** Conversations as a JSON file, out and in. A file comes from anywhere: every field of it
 * is checked, and what does not fit is left out or refused. */
import { settingsFrom, STRATEGIES } from "../settings/settings.ts";
import type {
  ConversationRecord,
  MessageRecord,
  MessageStatus,
  Problem,
  Proposer,
  ReplyStats,
  RunRecord,
  StepRecord,
  TracedToken,
} from "./records.ts";

const FORMAT = "tandem-conversations";
const VERSION = 1;
/** A file may not make the page hold more than this. */
const MAX_MESSAGES = 100_000;

/** A conversation with everything said in it. */
export interface WholeConversation {
  conversation: ConversationRecord;
  messages: MessageRecord[];
}

/** The text of an export. */
export function exported(conversations: readonly WholeConversation[]): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1);
}

/**
 * The conversations of an export's text, with ids of their own, so that none replaces
 * what is there.
 *
 * @throws {SyntaxError} where it is no such file, saying what is wrong.
 */
export function imported(text: string): WholeConversation[] {
  const file = fieldsOf(JSON.parse(text), "the file");
  if (file["format"] !== FORMAT) throw new SyntaxError("this is no export of conversations");
  if (file["version"] !== VERSION) throw new SyntaxError(`version ${String(file["version"])} is not known here`);
  const list = listOf(file["conversations"], "conversations");
  let n_messages = 0;
  return list.map((item, at) => {
    const place = `conversations[${at}]`;
    const { conversation, messages } = fieldsOf(item, place);
    const said = listOf(messages, `${place}.messages`);
    n_messages += said.length;
    if (n_messages > MAX_MESSAGES) throw new SyntaxError(`more than ${MAX_MESSAGES} messages`);
    return renamed(
      readConversation(fieldsOf(conversation, `${place}.conversation`)),
      said.map((message, nth) => readMessage(fieldsOf(message, `${place}.messages[${nth}]`))),
    );
  });
}

function readConversation(of: Fields): ConversationRecord {
  return {
    id: textOf(of["id"]),
    title: textOf(of["title"]).slice(0, 200),
    named: of["named"] === true,
    created: numberOf(of["created"]),
    updated: numberOf(of["updated"]),
    leaf: typeof of["leaf"] === "string" ? of["leaf"] : null,
    draft: textOf(of["draft"]),
    settings: settingsFrom(of["settings"]),
  };
}

const STATUSES: readonly MessageStatus[] = ["whole", "stopped", "length", "interrupted", "failed"];

function readMessage(of: Fields): MessageRecord {
  const status = STATUSES.find((status) => status === of["status"]);
  return {
    id: textOf(of["id"]),
    conversation: "",
    parent: typeof of["parent"] === "string" ? of["parent"] : null,
    role: of["role"] === "user" ? "user" : "assistant",
    created: numberOf(of["created"]),
    text: textOf(of["text"]),
    thinking: textOf(of["thinking"]),
    status: status ?? "interrupted",
    model: typeof of["model"] === "string" ? of["model"] : null,
    problem: readProblem(of["problem"]),
    stats: readStats(of["stats"]),
    trace: Array.isArray(of["trace"]) ? of["trace"].map(readToken) : [],
    run: readRun(of["run"]),
  };
}

function readProblem(given: unknown): Problem | null {
  if (given === null || given === undefined) return null;
  const of = fieldsOf(given, "problem");
  return { code: textOf(of["code"]), message: textOf(of["message"]) };
}

function readStats(given: unknown): ReplyStats | null {
  if (given === null || given === undefined) return null;
  const of = fieldsOf(given, "stats");
  const positions = Array.isArray(of["accepted_per_position"]) ? of["accepted_per_position"] : [];
  return {
    prompt_tokens: numberOf(of["prompt_tokens"]),
    cached_tokens: numberOf(of["cached_tokens"]),
    completion_tokens: numberOf(of["completion_tokens"]),
    prefill_tokens_per_s: numberOf(of["prefill_tokens_per_s"]),
    decode_tokens_per_s: numberOf(of["decode_tokens_per_s"]),
    num_drafts: numberOf(of["num_drafts"]),
    num_draft_tokens: numberOf(of["num_draft_tokens"]),
    num_accepted_tokens: numberOf(of["num_accepted_tokens"]),
    accepted_per_position: positions.map(numberOf),
    mean_acceptance_length: numberOf(of["mean_acceptance_length"]),
    speedup: typeof of["speedup"] === "number" ? of["speedup"] : null,
  };
}

const PROPOSERS: readonly Proposer[] = ["target", "draft", "ngram", "forced"];

function readToken(given: unknown): TracedToken {
  const of = fieldsOf(given, "trace");
  const top = Array.isArray(of["top"]) ? of["top"].slice(0, 20) : [];
  return {
    text: textOf(of["text"]),
    p: numberOf(of["p"]),
    by: PROPOSERS.find((by) => by === of["by"]) ?? null,
    top: top.map((item) => {
      const { text, p } = fieldsOf(item, "top");
      return { text: textOf(text), p: numberOf(p) };
    }),
    at_ms: numberOf(of["at_ms"]),
  };
}

const ENDINGS: readonly NonNullable<RunRecord["ending"]>[] = [
  "answered",
  "declined",
  "aborted",
  "steps",
  "tokens",
  "time",
  "too_many_errors",
  "plan_changed",
  "engine_failed",
  "internal",
];
const KINDS: readonly StepRecord["kind"][] = ["model", "tool", "request", "consent", "mend"];
const PURPOSES: readonly StepRecord["purpose"][] = ["act", "plan", "solve"];

/** A run that a file tells of. What it was allowed is not taken over: only the person at
 * this machine allows anything. What it had read stays read. */
function readRun(given: unknown): RunRecord | null {
  if (given === null || given === undefined) return null;
  const of = fieldsOf(given, "run");
  const taint = fieldsOf(of["taint"] ?? {}, "run.taint");
  return {
    strategy: STRATEGIES.find((strategy) => strategy === of["strategy"]) ?? "tools",
    steps: listOf(of["steps"], "run.steps").slice(0, 1_000).map(readStep),
    ending: ENDINGS.find((ending) => ending === of["ending"]) ?? null,
    taint: { foreign: textsOf(taint["foreign"]), private: textsOf(taint["private"]) },
    grants: [],
  };
}

function readStep(given: unknown): StepRecord {
  const of = fieldsOf(given, "run.steps");
  const args = Array.isArray(of["arguments"]) ? of["arguments"] : [];
  return {
    kind: KINDS.find((kind) => kind === of["kind"]) ?? "mend",
    at_ms: numberOf(of["at_ms"]),
    took_ms: numberOf(of["took_ms"]),
    purpose: PURPOSES.find((purpose) => purpose === of["purpose"]) ?? null,
    text: textOf(of["text"]),
    tool: textOf(of["tool"]),
    call: textOf(of["call"]),
    arguments: args.map((item) => {
      const { name, value, source } = fieldsOf(item, "arguments");
      return { name: textOf(name), value: textOf(value), source: textOf(source) };
    }),
    is_error: of["is_error"] === true,
    n_hidden: numberOf(of["n_hidden"]),
    n_cut: numberOf(of["n_cut"]),
    n_tokens: numberOf(of["n_tokens"]),
    url: textOf(of["url"]),
    decision: textOf(of["decision"]),
    approved: typeof of["approved"] === "boolean" ? of["approved"] : null,
    foreign: textsOf(of["foreign"]),
  };
}

/** New ids throughout. A parent that is not there makes its message a first one. */
function renamed(conversation: ConversationRecord, messages: MessageRecord[]): WholeConversation {
  const id = crypto.randomUUID();
  const names = new Map(messages.map((message) => [message.id, crypto.randomUUID()]));
  const seen = new Set<string>();
  const renamed = messages.map((message) => {
    // Only what came before can be answered: that keeps loops out.
    const parent = message.parent !== null && seen.has(message.parent) ? (names.get(message.parent) ?? null) : null;
    seen.add(message.id);
    return { ...message, id: names.get(message.id) ?? crypto.randomUUID(), conversation: id, parent };
  });
  const leaf = (conversation.leaf !== null && names.get(conversation.leaf)) || (renamed.at(-1)?.id ?? null);
  return { conversation: { ...conversation, id, leaf }, messages: renamed };
}

type Fields = Record<string, unknown>;

function fieldsOf(value: unknown, place: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new SyntaxError(`${place} is no object`);
}

function listOf(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new SyntaxError(`${place} is no list`);
}

const textsOf = (value: unknown): string[] => (Array.isArray(value) ? value.filter((text) => typeof text === "string") : []);
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const numberOf = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
