/** What the page is doing: the model it has, and the conversation. */
import { Tandem, TandemError, type LoadProgress, type ModelInfo, type ModelSource } from "tandem-llm";

export interface Turn {
  role: "user" | "assistant";
  text: string;
  /** How fast the reply came, once it has. */
  tokens_per_s?: number;
  n_tokens?: number;
  /** The person stopped it. */
  stopped?: boolean;
}

export interface Problem {
  code: string;
  message: string;
}

type State = "empty" | "loading" | "ready" | "replying";

export class Session {
  state = $state<State>("empty");
  info = $state<ModelInfo>();
  progress = $state<LoadProgress>();
  problem = $state<Problem>();
  turns = $state<Turn[]>([]);

  #engine: Tandem | undefined;
  #stop: AbortController | undefined;

  async load(models: { target: ModelSource; draft?: ModelSource }): Promise<void> {
    this.stop();
    this.#forget();
    this.turns = [];
    this.problem = undefined;
    this.state = "loading";
    const stop = (this.#stop = new AbortController());
    try {
      const onProgress = (progress: LoadProgress) => (this.progress = progress);
      const engine = await Tandem.load({ ...models, onProgress, signal: stop.signal });
      this.#engine = engine;
      this.info = engine.info;
      this.state = "ready";
      void engine.closed.then((why) => {
        if (this.#engine !== engine) return;
        this.#forget();
        this.#tell(why);
      });
    } catch (error) {
      // A later load has taken over: this one's end is of no interest.
      if (this.#stop !== stop) return;
      this.state = "empty";
      this.#tell(error);
    } finally {
      if (this.#stop === stop) {
        this.#stop = undefined;
        this.progress = undefined;
      }
    }
  }

  async send(text: string): Promise<void> {
    const engine = this.#engine;
    if (!engine || this.state !== "ready") return;
    this.problem = undefined;
    this.turns.push({ role: "user", text });
    const asked = this.turns.map(({ role, text }) => ({ role, content: text }));
    this.turns.push({ role: "assistant", text: "" });
    const reply = this.turns.at(-1);
    if (!reply) return;
    this.state = "replying";
    const stop = (this.#stop = new AbortController());
    const options = { signal: stop.signal, onText: (piece: string) => (reply.text += piece), max_tokens: 512 };
    try {
      const end = engine.info.has_chat_template
        ? await engine.chat(asked, options)
        : // A model without a template goes on from what stands there.
          await engine.complete(asked.map(({ content }) => content).join("\n"), options);
      reply.n_tokens = end.usage.completion_tokens;
      reply.tokens_per_s = end.timings.decode_tokens_per_s;
    } catch (error) {
      if (isAbort(error)) reply.stopped = true;
      else this.#tell(error);
    } finally {
      this.#stop = undefined;
      if (this.#engine === engine) this.state = "ready";
    }
  }

  /** Stops the load or the reply that is going on. */
  stop(): void {
    this.#stop?.abort();
  }

  /** Lets the model go and asks for another. */
  unload(): void {
    this.stop();
    this.#forget();
    this.problem = undefined;
  }

  #forget(): void {
    this.#engine?.dispose();
    this.#engine = undefined;
    this.info = undefined;
    this.state = "empty";
  }

  #tell(error: unknown): void {
    if (isAbort(error)) return;
    const message = error instanceof Error ? error.message : String(error);
    this.problem = { code: error instanceof TandemError ? error.code : "internal", message };
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof TandemError && error.code === "aborted";
}
