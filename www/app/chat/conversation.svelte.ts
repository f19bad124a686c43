import { settingsFrom, type Settings } from "../settings/settings.ts";
import type { ConversationRecord, MessageRecord } from "../store/records.ts";
import { Message } from "./message.svelte.ts";
import { below, branchTo, latestLeaf, versionsOf, without } from "./tree.ts";

const MAX_TITLE_CHARACTERS = 60;

/** The conversation in view, with all its branches. */
export class Conversation {
  readonly id: string;
  readonly created: number;
  title = $state("");
  named = $state(false);
  updated = $state(0);
  leaf = $state<string | null>(null);
  draft = $state("");
  settings = $state<Settings>(settingsFrom(null));
  messages = $state.raw<readonly Message[]>([]);
  /** From the first message to the end of the branch in view. */
  readonly branch = $derived(branchTo(this.messages, this.leaf));

  constructor(record: ConversationRecord, messages: readonly MessageRecord[]) {
    this.id = record.id;
    this.created = record.created;
    this.title = record.title;
    this.named = record.named;
    this.updated = record.updated;
    this.leaf = record.leaf;
    this.draft = record.draft;
    this.settings = record.settings;
    this.messages = messages.map((message) => new Message(message));
  }

  /** An empty one. */
  static fresh(settings: Settings): Conversation {
    const now = Date.now();
    return new Conversation(
      {
        id: crypto.randomUUID(),
        title: "",
        named: false,
        created: now,
        updated: now,
        leaf: null,
        draft: "",
        settings: settingsFrom(settings),
      },
      [],
    );
  }

  /** Adds a message at the end of a branch and brings that branch into view. */
  add(message: Message): void {
    this.messages = [...this.messages, message];
    this.leaf = message.id;
    this.updated = Date.now();
    if (message.role === "user" && !this.named && message.parent === null) this.title = titleOf(message.text);
  }

  versionsOf(message: Message): readonly Message[] {
    return versionsOf(this.messages, message);
  }

  /** Brings the branch that goes through `message` into view. */
  show(message: Message): void {
    this.leaf = latestLeaf(this.messages, message.id);
  }

  /** Takes a message and all that follows it away; answers with what was taken. */
  take(message: Message): Message[] {
    const taken = below(this.messages, message);
    const sibling = this.versionsOf(message).findLast(({ id }) => id !== message.id);
    this.messages = without(this.messages, taken);
    if (taken.some(({ id }) => id === this.leaf)) {
      this.leaf = sibling ? latestLeaf(this.messages, sibling.id) : message.parent;
    }
    return taken;
  }

  /** Puts back what was taken. */
  restore(messages: readonly Message[]): void {
    const all = [...this.messages, ...messages];
    this.messages = all.sort((a, b) => a.created - b.created);
    const first = messages[0];
    if (first) this.show(first);
  }

  record(): ConversationRecord {
    const { id, title, named, created, updated, leaf, draft, settings } = this;
    return { id, title, named, created, updated, leaf, draft, settings: $state.snapshot(settings) };
  }
}

/** A title out of the first thing said. */
export function titleOf(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  if (line.length <= MAX_TITLE_CHARACTERS) return line;
  const cut = line.slice(0, MAX_TITLE_CHARACTERS);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), 20))}…`;
}
