import { isAbort, problemOf, type Engine } from "../engine/engine.svelte.ts";
import { spoken } from "../engine/choice.ts";
import { Live } from "../speculation/live.svelte.ts";
import type { RunRecord, TracedToken } from "../store/records.ts";
import { act } from "../tools/act.ts";
import { Consent } from "../tools/consent.svelte.ts";
import type { RequestLog } from "../tools/requests.svelte.ts";
import { Toolbox } from "../tools/toolbox.svelte.ts";
import { ask, type Asked, type Ending, type News } from "./asking.ts";
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
  readonly toolbox = new Toolbox();
  readonly consent = new Consent();
  readonly #requests: RequestLog;
  readonly #library: Library;
  readonly #engine: Engine;
  #stop: AbortController | undefined;

  constructor(library: Library, engine: Engine, requests: RequestLog) {
    this.#library = library;
    this.#engine = engine;
    this.#requests = requests;
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

  /** A reply as the engine makes it: by way of tools where the conversation has some. */
  async #reply(reply: Message, page: Pen, asked: Asked & { messages: readonly Message[] }, signal: AbortSignal): Promise<Ending> {
    const tandem = await this.#engine.whenReady(signal);
    const onNews = (news: News) => {
      this.live.heard(news.tokens.length || (news.text || news.thinking ? 1 : 0), news.round);
      page.write(news);
    };
    const names = this.toolbox.chosen(asked.settings, tandem.capabilities);
    if (names.length === 0 || asked.begun !== null) return ask(tandem, asked, signal, onNews);
    const { answer, ...ending } = await act(
      tandem,
      {
        asked,
        tools: await this.toolbox.named(names),
        before: lastRun(asked.messages),
        consent: this.consent,
        sandbox: (toolOf) => this.#requests.sandbox(reply.conversation, toolOf),
        signal,
      },
      {
        onNews,
        onClear: () => page.clear(),
        onRun: (run) => {
          reply.run = run;
          page.touch();
        },
        onDoing: (doing) => (reply.doing = doing),
      },
    );
    page.flush();
    if (answer) reply.text = answer;
    return ending;
  }

  /** Writes a reply, or goes on with one that has `begun`. */
  async #write(conversation: Conversation, reply: Message, begun: string | null): Promise<void> {
    const stop = (this.#stop = new AbortController());
    this.writing = reply;
    this.#requests.conversation = conversation.id;
    this.live.begin();
    reply.status = "streaming";
    reply.problem = null;
    if (begun === null) reply.run = null;
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
        const { reason, stats } = await this.#reply(reply, page, { messages, begun, settings }, stop.signal);
        reply.stats = stats;
        reply.status = reason === "length" ? "length" : "whole";
      });
    } catch (error) {
      reply.status = isAbort(error) && stop.signal.aborted ? "stopped" : "failed";
      this.#engine.failed(error);
      if (reply.status === "failed") reply.problem = problemOf(error) ?? { code: "aborted", message: "the model was let go" };
    } finally {
      removeEventListener("pagehide", leaving);
      clearInterval(saving);
      page.close();
      reply.doing = undefined;
      this.#stop = undefined;
      this.writing = undefined;
      this.#requests.conversation = "";
      conversation.updated = Date.now();
      await this.#library.save(conversation, [reply]);
    }
  }
}

/** How the run before in a branch left things. */
function lastRun(branch: readonly Message[]): RunRecord | null {
  return branch.findLast(({ run }) => run)?.run ?? null;
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

  /** What was written is not the reply after all. */
  clear(): void {
    this.flush();
    this.#reply.text = "";
    this.#reply.trace = [];
    this.#began = undefined;
    this.#unsaved = true;
  }

  /** Something beside the text has changed. */
  touch(): void {
    this.#unsaved = true;
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
