import type { Database } from "../store/database.ts";
import type { Conversation } from "./conversation.svelte.ts";
import type { Message } from "./message.svelte.ts";

/** What is to be stored and is not: it stays here until storing it succeeds. */
export class Unsaved {
  readonly #messages = new Map<Conversation, Set<Message>>();

  get any(): boolean {
    return this.#messages.size > 0;
  }

  add(conversation: Conversation, messages: readonly Message[]): void {
    const unsaved = this.#messages.get(conversation) ?? new Set();
    for (const message of messages) unsaved.add(message);
    this.#messages.set(conversation, unsaved);
  }

  /** The conversation of this id, where something of it is unsaved. */
  of(id: string): Conversation | undefined {
    return [...this.#messages.keys()].find((conversation) => conversation.id === id);
  }

  /** Forgets a conversation that is no more. */
  forget(id: string): void {
    const conversation = this.of(id);
    if (conversation) this.#messages.delete(conversation);
  }

  /** Forgets messages that are no more. */
  forgetMessages(conversation: Conversation, messages: readonly Message[]): void {
    for (const message of messages) this.#messages.get(conversation)?.delete(message);
  }

  /** Stores everything, as it is now. */
  async saveTo(database: Database): Promise<void> {
    const batches = [...this.#messages].map(([conversation, unsaved]) => {
      const messages = [...unsaved];
      return { conversation, unsaved, messages, records: messages.map((message) => message.record()), record: conversation.record() };
    });
    for (const { conversation, unsaved, messages, records, record } of batches) {
      await database.saveMessages(records, record);
      for (const message of messages) unsaved.delete(message);
      if (unsaved.size === 0) this.#messages.delete(conversation);
    }
  }
}
