import { Database } from "../store/database.ts";
import type { ConversationRecord, Problem, RequestRecord } from "../store/records.ts";
import { exported, imported, type WholeConversation } from "../store/transfer.ts";
import type { Settings } from "../settings/settings.ts";
import { Conversation } from "./conversation.svelte.ts";
import { heldReplies } from "./holding.ts";
import type { Message } from "./message.svelte.ts";
import { Unsaved } from "./unsaved.ts";

const DRAFT_PAUSE_MS = 300;

/** All conversations, and the one in view. What cannot be stored stays in memory, and the
 * person is told. */
export class Library {
  list = $state.raw<readonly ConversationRecord[]>([]);
  current = $state.raw<Conversation>() as Conversation;
  /** Why nothing is being saved, where that is so. */
  problem = $state.raw<Problem>();
  /** Whether what was stored has been read. */
  opened = $state(false);
  #database: Database | undefined;
  /** It is tried again with whatever is said next. */
  readonly #unsaved = new Unsaved();
  readonly #tabs = new BroadcastChannel("tandem-conversations");
  readonly #usual: () => Settings;
  #draft_timer: ReturnType<typeof setTimeout> | undefined;

  /** `usual` gives the settings of new conversations. */
  constructor(usual: () => Settings) {
    this.#usual = usual;
    this.current = Conversation.fresh(usual());
  }

  /** Reads what is stored, and brings the conversation `id` into view where it is there. */
  async open(id: string | null): Promise<void> {
    await this.#storing(async () => {
      this.#database = await Database.open();
      await this.#refresh();
      if (id !== null && this.list.some((record) => record.id === id)) await this.show(id);
    });
    this.opened = true;
    this.#tabs.onmessage = () => void this.#storing(() => this.#refresh());
    addEventListener("pagehide", () => this.saveDraftNow());
    document.addEventListener("visibilitychange", () => this.saveDraftNow());
  }

  /** Brings a conversation into view. */
  async show(id: string): Promise<void> {
    if (id === this.current.id) return;
    this.saveDraftNow();
    const unsaved = this.#unsaved.of(id);
    if (unsaved) {
      this.current = unsaved;
      return;
    }
    await this.#storing(async (database) => {
      const record = (await database.conversations()).find((record) => record.id === id);
      if (!record) return;
      const messages = await database.messages(id);
      const held = await heldReplies();
      for (const message of messages) {
        // Its page was closed, or died, while it was written.
        if (message.status === "streaming" && !held.has(message.id)) message.status = "interrupted";
      }
      this.current = new Conversation(record, messages);
    });
  }

  /** Begins a new conversation. It is stored once something is in it. */
  begin(): void {
    this.saveDraftNow();
    this.current = Conversation.fresh(this.#usual());
  }

  /** Saves a conversation and messages of it, and with them what could not be saved before. */
  async save(conversation: Conversation, messages: readonly Message[] = []): Promise<void> {
    this.#unsaved.add(conversation, messages);
    await this.#storing((database) => this.#unsaved.saveTo(database));
    this.#noted(conversation.record());
  }

  /** Saves a reply as far as it has come: what is said of its tokens follows at its end,
   * which would make this dear. */
  async savePart(message: Message): Promise<void> {
    await this.#storing((database) => database.saveMessages([{ ...message.record(), trace: [] }]));
  }

  /** Takes note of what stands in the composer. */
  saveDraft(): void {
    clearTimeout(this.#draft_timer);
    this.#draft_timer = setTimeout(() => this.saveDraftNow(), DRAFT_PAUSE_MS);
  }

  saveDraftNow(): void {
    if (this.#draft_timer === undefined) return;
    clearTimeout(this.#draft_timer);
    this.#draft_timer = undefined;
    const known = this.list.some(({ id }) => id === this.current.id);
    if (known || this.current.draft.trim()) void this.save(this.current);
  }

  async rename(id: string, title: string): Promise<void> {
    const record = this.list.find((record) => record.id === id);
    const name = title.trim();
    if (!record || !name) return;
    const renamed = { ...record, title: name, named: true };
    if (this.current.id === id) {
      this.current.title = name;
      this.current.named = true;
    }
    await this.#storing((database) => database.save(renamed));
    this.#noted(renamed);
  }

  /** Removes a conversation; answers with what brings it back. */
  async remove(id: string): Promise<() => Promise<void>> {
    const whole = await this.#whole(id);
    this.#unsaved.forget(id);
    await this.#storing((database) => database.remove(id));
    this.list = this.list.filter((record) => record.id !== id);
    if (this.current.id === id) this.current = Conversation.fresh(this.#usual());
    this.#tabs.postMessage(null);
    return async () => {
      if (!whole) return;
      await this.#storing((database) => database.saveMessages(whole.messages, whole.conversation));
      this.#noted(whole.conversation);
      await this.show(id);
    };
  }

  /** Removes messages that the conversation in view no longer has. */
  async removeMessages(messages: readonly Message[]): Promise<void> {
    this.#unsaved.forgetMessages(this.current, messages);
    await this.#storing((database) => database.removeMessages(messages.map(({ id }) => id)));
    await this.save(this.current);
  }

  /** The ids of conversations that mention `words`. */
  async search(words: string): Promise<readonly string[]> {
    const wanted = words.toLocaleLowerCase();
    const titled = this.list.filter(({ title }) => title.toLocaleLowerCase().includes(wanted)).map(({ id }) => id);
    const saying = await this.#storing((database) => database.saying(words));
    return [...titled, ...(saying ?? [])];
  }

  /** All conversations as a file, or one. */
  async export(id?: string): Promise<string> {
    const ids = id === undefined ? this.list.map(({ id }) => id) : [id];
    const wholes = await Promise.all(ids.map((id) => this.#whole(id)));
    return exported(wholes.filter((whole) => whole !== undefined));
  }

  /** Adds the conversations of a file.
   *
   * @throws {SyntaxError} where it is no such file. */
  async import(text: string): Promise<number> {
    const wholes = imported(text);
    for (const { conversation, messages } of wholes) {
      await this.#storing((database) => database.saveMessages(messages, conversation));
      this.#noted(conversation);
    }
    return wholes.length;
  }

  /** The log of requests; what cannot be stored is told of as of anything else. */
  async requests(): Promise<RequestRecord[]> {
    return (await this.#storing((database) => database.requests())) ?? [];
  }

  async saveRequest(request: RequestRecord): Promise<void> {
    await this.#storing((database) => database.saveRequest(request));
  }

  async clearRequests(): Promise<void> {
    await this.#storing((database) => database.clearRequests());
  }

  async #whole(id: string): Promise<WholeConversation | undefined> {
    const conversation = this.list.find((record) => record.id === id);
    if (!conversation) return undefined;
    const messages = await this.#storing((database) => database.messages(id));
    return { conversation, messages: messages ?? [] };
  }

  #noted(record: ConversationRecord): void {
    const others = this.list.filter(({ id }) => id !== record.id);
    this.list = [record, ...others].sort((a, b) => b.updated - a.updated);
    this.#tabs.postMessage(null);
  }

  async #refresh(): Promise<void> {
    if (this.#database) this.list = await this.#database.conversations();
  }

  async #storing<T>(work: (database: Database) => Promise<T>): Promise<T | undefined> {
    try {
      this.#database ??= await Database.open();
      const done = await work(this.#database);
      if (!this.#unsaved.any) this.problem = undefined;
      return done;
    } catch (error) {
      this.problem = storingProblem(error);
      return undefined;
    }
  }
}

function storingProblem(error: unknown): Problem {
  const full = error instanceof DOMException && error.name === "QuotaExceededError";
  const why = error instanceof Error ? error.message : String(error);
  return full
    ? { code: "storage_full", message: "There is no room left on this device: what is said now is not kept. Export it, or delete something." }
    : { code: "storage_failed", message: `What is said now is not kept: ${why}` };
}
