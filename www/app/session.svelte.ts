/** What the page is doing: the model it has, and the conversation. */
import { Tandem, TandemError, type Capabilities, type ChatCompletion, type Completion, type LoadProgress, type ModelSource } from "tandem-llm";

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
  info = $state<Capabilities>();
  progress = $state<LoadProgress>();
  problem = $state<Problem>();
  turns = $state<Turn[]>([]);

  #engine: Tandem | undefined;
  #stop: AbortController | undefined;

  /** Loads a model; the pair that ships where none is named. */
  async load(models: { target?: ModelSource; draft?: ModelSource } = {}): Promise<void> {
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
      this.info = engine.capabilities;
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
    const common = { stream: true, max_tokens: 512, temperature: 0.7 } as const;
    const { signal } = stop;
    try {
      if (engine.capabilities.has_chat_template) {
        const stream = await engine.chat.completions.create({ ...common, messages: asked }, { signal });
        for await (const chunk of stream) reply.text += chunk.choices[0]?.delta.content ?? "";
        note(reply, await stream.final());
      } else {
        // A model without a template goes on from what stands there.
        const prompt = asked.map(({ content }) => content).join("\n");
        const stream = await engine.completions.create({ ...common, prompt }, { signal });
        for await (const chunk of stream) reply.text += chunk.choices[0]?.text ?? "";
        note(reply, await stream.final());
      }
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

/** What the reply took. */
function note(reply: Turn, { usage, timings }: ChatCompletion | Completion): void {
  if (usage) reply.n_tokens = usage.completion_tokens;
  if (timings) reply.tokens_per_s = timings.decode_tokens_per_s;
}

function isAbort(error: unknown): boolean {
  return error instanceof TandemError && error.code === "aborted";
}
