import type { MessageRecord, MessageStatus, Problem, ReplyStats, RunRecord, TracedToken } from "../store/records.ts";

/** What a run is at, and the model's words so far where they are not the reply. */
export interface Doing {
  what: string;
  text: string;
  /** The words are for a machine: a call's arguments. */
  verbatim?: boolean;
}

/** A message as the page shows it: a record whose changing fields are watched. */
export class Message {
  readonly id: string;
  readonly conversation: string;
  readonly parent: string | null;
  readonly role: "user" | "assistant";
  readonly created: number;
  readonly model: string | null;
  text = $state("");
  thinking = $state("");
  status = $state<MessageStatus>("whole");
  problem = $state.raw<Problem | null>(null);
  stats = $state.raw<ReplyStats | null>(null);
  trace = $state.raw<readonly TracedToken[]>([]);
  run = $state.raw<RunRecord | null>(null);
  /** What is being done right now, beside writing the reply. */
  doing = $state.raw<Doing>();

  constructor(record: MessageRecord) {
    this.id = record.id;
    this.conversation = record.conversation;
    this.parent = record.parent;
    this.role = record.role;
    this.created = record.created;
    this.model = record.model;
    this.text = record.text;
    this.thinking = record.thinking;
    this.status = record.status;
    this.problem = record.problem;
    this.stats = record.stats;
    this.trace = record.trace;
    // What was stored before there were tools says nothing of them.
    this.run = (record as Partial<MessageRecord>).run ?? null;
  }

  /** A new message after `parent`. */
  static of(
    conversation: string,
    parent: string | null,
    said: Pick<MessageRecord, "role" | "text"> & Partial<MessageRecord>,
  ): Message {
    return new Message({
      id: crypto.randomUUID(),
      conversation,
      parent,
      created: Date.now(),
      thinking: "",
      status: "whole",
      model: null,
      problem: null,
      stats: null,
      trace: [],
      run: null,
      ...said,
    });
  }

  /** The same as plain data. */
  record(): MessageRecord {
    const { id, conversation, parent, role, created, model, text, thinking, status, problem, stats, trace, run } = this;
    return {
      id,
      conversation,
      parent,
      role,
      created,
      model,
      text,
      thinking,
      status,
      problem,
      stats,
      trace: [...trace],
      run,
    };
  }
}
