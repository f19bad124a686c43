import { Client } from "./client.ts";
import { TandemError } from "./errors.ts";
import { resolveSource } from "./hub.ts";
import type { GenerateRequest, LoadRequest } from "./protocol.ts";
import type { ChatMessage, LoadOptions, ModelInfo, ReplyEnd, SamplingOptions } from "./types.ts";

export interface StreamOptions extends SamplingOptions {
  /** Called with each piece of the reply as it is made. */
  onText?: (text: string) => void;
  /** Stops the reply: what was made until then is kept. */
  signal?: AbortSignal;
}

/** A reply, whole. */
export interface Reply extends ReplyEnd {
  text: string;
}

/** A loaded model, in a worker of its own. */
export class Tandem {
  readonly info: ModelInfo;
  /** Resolves when the engine can no longer be asked, with why: it was disposed of
   * (`aborted`), or it failed (`internal`) and has to be loaded again. */
  readonly closed: Promise<TandemError>;
  readonly #client: Client;

  private constructor(client: Client, info: ModelInfo, closed: Promise<TandemError>) {
    this.#client = client;
    this.info = info;
    this.closed = closed;
  }

  /**
   * Loads a model.
   *
   * @throws {TandemError} with the engine's `code`; `aborted` where the signal said so.
   */
  static async load({ target, draft, device = "auto", onProgress, signal }: LoadOptions): Promise<Tandem> {
    let onClosed!: (why: TandemError) => void;
    const closed = new Promise<TandemError>((resolve) => (onClosed = resolve));
    const client = new Client(onClosed);
    // A load does not look up between reads: to stop it, its worker is ended.
    const stop = () => client.close(new TandemError("aborted", "stopped"));
    signal?.addEventListener("abort", stop);
    try {
      const request: LoadRequest = { target: resolveSource(target), device };
      if (draft) request.draft = resolveSource(draft);
      const info = await client.call("load", request, onProgress, signal);
      return new Tandem(client, info, closed);
    } catch (error) {
      client.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Replies to a conversation. */
  chat(messages: readonly ChatMessage[], options: StreamOptions = {}): Promise<Reply> {
    return this.#generate({ messages }, options);
  }

  /** Continues a text. */
  complete(text: string, options: StreamOptions = {}): Promise<Reply> {
    return this.#generate({ text }, options);
  }

  /** Ends the worker and frees the model. */
  dispose(): void {
    this.#client.close();
  }

  async #generate(prompt: GenerateRequest["prompt"], options: StreamOptions): Promise<Reply> {
    const { onText, signal, ...sampling } = options;
    let text = "";
    const add = (piece: string) => {
      text += piece;
      onText?.(piece);
    };
    const end = await this.#client.call("generate", { prompt, sampling }, add, signal);
    return { text, ...end };
  }
}
