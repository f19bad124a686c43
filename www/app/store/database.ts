/** IndexedDB: conversations and their messages. */
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { ConversationRecord, MessageRecord, RequestRecord } from "./records.ts";

interface Schema extends DBSchema {
  conversations: { key: string; value: ConversationRecord };
  messages: { key: string; value: MessageRecord; indexes: { conversation: string } };
  requests: { key: string; value: RequestRecord; indexes: { at: number } };
}

/** The log keeps the latest so many. */
const MAX_REQUESTS = 2_000;

/** Everything said, on this device. */
export class Database {
  readonly #db: IDBPDatabase<Schema>;

  private constructor(db: IDBPDatabase<Schema>) {
    this.#db = db;
  }

  static async open(): Promise<Database> {
    const db = await openDB<Schema>("tandem", 2, {
      upgrade(db, from) {
        if (from < 1) {
          db.createObjectStore("conversations", { keyPath: "id" });
          db.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
        }
        if (from < 2) db.createObjectStore("requests", { keyPath: "id" }).createIndex("at", "at");
      },
      // A newer page in another tab wants to change the layout: let it.
      blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
    });
    return new Database(db);
  }

  /** All conversations, the latest first. */
  async conversations(): Promise<ConversationRecord[]> {
    const all = await this.#db.getAll("conversations");
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** A conversation's messages, in the order they were written. */
  async messages(conversation: string): Promise<MessageRecord[]> {
    const all = await this.#db.getAllFromIndex("messages", "conversation", conversation);
    return all.sort((a, b) => a.created - b.created);
  }

  async save(conversation: ConversationRecord): Promise<void> {
    await this.#db.put("conversations", conversation);
  }

  /** Saves messages, and the conversation they belong to, at once or not at all. */
  async saveMessages(messages: readonly MessageRecord[], conversation?: ConversationRecord): Promise<void> {
    const change = this.#db.transaction(["conversations", "messages"], "readwrite");
    const puts: Promise<unknown>[] = messages.map((message) => change.objectStore("messages").put(message));
    if (conversation) puts.push(change.objectStore("conversations").put(conversation));
    await Promise.all([...puts, change.done]);
  }

  async removeMessages(ids: readonly string[]): Promise<void> {
    const change = this.#db.transaction("messages", "readwrite");
    await Promise.all([...ids.map((id) => change.store.delete(id)), change.done]);
  }

  /** Removes a conversation with all its messages. */
  async remove(conversation: string): Promise<void> {
    const change = this.#db.transaction(["conversations", "messages"], "readwrite");
    const messages = change.objectStore("messages");
    const ids = await messages.index("conversation").getAllKeys(conversation);
    const removed = ids.map((id) => messages.delete(id));
    await Promise.all([...removed, change.objectStore("conversations").delete(conversation), change.done]);
  }

  /** The ids of conversations in which someone said `words`, whatever the case. */
  async saying(words: string): Promise<Set<string>> {
    const wanted = words.toLocaleLowerCase();
    const found = new Set<string>();
    let cursor = await this.#db.transaction("messages").store.openCursor();
    while (cursor) {
      const { conversation, text } = cursor.value;
      if (!found.has(conversation) && text.toLocaleLowerCase().includes(wanted)) found.add(conversation);
      cursor = await cursor.continue();
    }
    return found;
  }

  /** The requests that left, the latest first. */
  async requests(): Promise<RequestRecord[]> {
    const all = await this.#db.getAllFromIndex("requests", "at");
    return all.reverse();
  }

  /** Notes a request, and forgets the oldest where there are too many. */
  async saveRequest(request: RequestRecord): Promise<void> {
    const change = this.#db.transaction("requests", "readwrite");
    await change.store.put(request);
    let n_over = (await change.store.count()) - MAX_REQUESTS;
    let oldest = n_over > 0 ? await change.store.index("at").openCursor() : null;
    for (; oldest && n_over > 0; n_over -= 1) {
      await oldest.delete();
      oldest = await oldest.continue();
    }
    await change.done;
  }

  async clearRequests(): Promise<void> {
    await this.#db.clear("requests");
  }

  close(): void {
    this.#db.close();
  }
}
