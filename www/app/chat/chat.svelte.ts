import { isAbort, problemOf, type Engine } from "../engine/engine.svelte.ts";
import { spoken } from "../engine/choice.ts";
import { Live } from "../speculation/live.svelte.ts";
import type { TracedToken } from "../store/records.ts";
import { ask, type News } from "./asking.ts";
import type { Conversation } from "./conversation.svelte.ts";
import { holding } from "./holding.ts";
import type { Library } from "./library.svelte.ts";
import { Message } from "./message.svelte.ts";

/** A reply in the making is saved this often. */
const SAVE_MS = 400;
/** A page in the background draws no frames; its text moves on anyway. */
const BACKGROUND_FRAME_MS = 250;

/** Says things, and writes down what is answered. */
export class Chat {
  /** The reply being written. */
  writing = $state.raw<Message>();
  readonly live = new Live();
  readonly #library: Library;
  readonly #engine: Engine;
  #stop: AbortController | undefined;

  constructor(library: Library, engine: Engine) {
    this.#library = library;
    this.#engine = engine;
  }

  /** Says `text` at the end of the branch in view and has it answered. */
  async send(text: string): Promise<void> {
    const conversation = this.#library.current;
    if (this.writing || !text.trim()) return;
    const message = Message.of(conversation.id, conversation.leaf, { role: "user", text });
    conversation.add(message);
    conversation.draft = "";
    void navigator.storage.persist();
    await this.#library.save(conversation, [message]);
    await this.#answer(conversation, message);
  }

  /** Says something else in place of `message`, as a new version of it. */
  async edit(message: Message, text: string): Promise<void> {
    const conversation = this.#library.current;
    if (this.writing || !text.trim()) return;
    const version = Message.of(conversation.id, message.parent, { role: "user", text });
    conversation.add(version);
    await this.#library.save(conversation, [version]);
    await this.#answer(conversation, version);
  }

  /** Has the question before `reply` answered once more. */
  async regenerate(reply: Message): Promise<void> {
    const conversation = this.#library.current;
    const asked = conversation.messages.find(({ id }) => id === reply.parent);
    if (this.writing || !asked) return;
    await this.#answer(conversation, asked);
  }

  /** Goes on with a reply that ended early. */
  async continue(reply: Message): Promise<void> {
    const conversation = this.#library.current;
    if (this.writing || reply.role !== "assistant") return;
    await this.#write(conversation, reply, reply.text);
  }

  stop(): void {
    this.#stop?.abort();
  }

  /** Shows another version of a message. */
  async show(message: Message): Promise<void> {
    this.#library.current.show(message);
    await this.#library.save(this.#library.current);
  }

  /** Removes a message with all that follows it; answers with what brings them back. */
  async remove(message: Message): Promise<() => Promise<void>> {
    const conversation = this.#library.current;
    const taken = conversation.take(message);
    await this.#library.removeMessages(taken);
    return async () => {
      conversation.restore(taken);
      await this.#library.save(conversation, taken);
    };
  }

  async #answer(conversation: Conversation, asked: Message): Promise<void> {
    const { capabilities, choice } = this.#engine;
    const model = capabilities ? spoken(capabilities.model, choice) : null;
    const reply = Message.of(conversation.id, asked.id, { role: "assistant", text: "", status: "streaming", model });
    conversation.add(reply);
    await this.#write(conversation, reply, null);
  }

  /** Writes a reply, or goes on with one that has `begun`. */
  async #write(conversation: Conversation, reply: Message, begun: string | null): Promise<void> {
    const stop = (this.#stop = new AbortController());
    this.writing = reply;
    this.live.begin();
    reply.status = "streaming";
    reply.problem = null;
    const page = new Pen(reply);
    const messages = conversation.branch.slice(0, conversation.branch.indexOf(reply));
    const settings = conversation.record().settings;
    await this.#library.save(conversation, [reply]);
    const saving = setInterval(() => {
      if (page.take()) void this.#library.savePart(reply);
    }, SAVE_MS);
    const leaving = () => {
      page.flush();
      void this.#library.savePart(reply);
    };
    addEventListener("pagehide", leaving);
    try {
      await holding(reply.id, async () => {
        const tandem = await this.#engine.whenReady(stop.signal);
        const { reason, stats } = await ask(tandem, { messages, begun, settings }, stop.signal, (news) => {
          this.live.heard(news.tokens.length || (news.text || news.thinking ? 1 : 0), news.round);
          page.write(news);
        });
        reply.stats = stats;
        reply.status = reason === "length" ? "length" : "whole";
      });
    } catch (error) {
      reply.status = isAbort(error) && stop.signal.aborted ? "stopped" : "failed";
      if (reply.status === "failed") reply.problem = problemOf(error) ?? { code: "aborted", message: "the model was let go" };
    } finally {
      removeEventListener("pagehide", leaving);
      clearInterval(saving);
      page.close();
      this.#stop = undefined;
      this.writing = undefined;
      conversation.updated = Date.now();
      await this.#library.save(conversation, [reply]);
    }
  }
}

/** Writes news into a message, once a frame: what arrives between frames is seen together
 * and costs the page once. */
class Pen {
  readonly #reply: Message;
  #text = "";
  #thinking = "";
  #tokens: TracedToken[] = [];
  #frame: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #began: number | undefined;
  #unsaved = false;

  constructor(reply: Message) {
    this.#reply = reply;
  }

  write({ text, thinking, tokens }: News): void {
    if (!text && !thinking && tokens.length === 0) return;
    const now = performance.now();
    this.#began ??= now;
    const at_ms = Math.round(now - this.#began);
    this.#text += text;
    this.#thinking += thinking;
    for (const token of tokens) this.#tokens.push({ ...token, at_ms });
    this.#unsaved = true;
    this.#frame ??= requestAnimationFrame(() => this.flush());
    this.#timer ??= setTimeout(() => this.flush(), BACKGROUND_FRAME_MS);
  }

  flush(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = this.#timer = undefined;
    if (this.#text) this.#reply.text += this.#text;
    if (this.#thinking) this.#reply.thinking += this.#thinking;
    if (this.#tokens.length > 0) this.#reply.trace = [...this.#reply.trace, ...this.#tokens];
    this.#text = this.#thinking = "";
    this.#tokens = [];
  }

  /** Whether there is something that was not saved yet; it counts as saved then. */
  take(): boolean {
    const unsaved = this.#unsaved;
    this.#unsaved = false;
    return unsaved;
  }

  close(): void {
    this.flush();
  }
}
