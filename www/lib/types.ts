/** How far a load has come. */
export interface LoadProgress {
  /** Bytes read so far, of the files known so far. */
  loaded_bytes: number;
  /** Bytes those files have in all. */
  total_bytes: number;
  /** The file being read. */
  file: string;
}

/** Where a model is: files that the person chose (one `.gguf`, or the files of a
 * Hugging Face folder), or the address of a `.gguf` file or of such a folder. */
export type ModelSource = { files: readonly File[]; name?: string } | { url: string };

/** What computes. `auto` takes a real GPU where there is one; a GPU that is only
 * emulated is slower than the processor itself. */
export type Device = "auto" | "cpu" | "gpu";

export interface LoadOptions {
  /** The model that speaks. */
  target: ModelSource;
  /** A small model with the same tokenizer that guesses ahead. It makes replies
   * faster, and never changes them. */
  draft?: ModelSource;
  /** `auto` where not given. */
  device?: Device;
  /** Called as bytes arrive. */
  onProgress?: (progress: LoadProgress) => void;
  /** Stops the load. */
  signal?: AbortSignal;
}

/** What was loaded. */
export interface ModelInfo {
  /** The model's own name for itself, or its file's. */
  name: string;
  /** Its architecture, such as `llama`. */
  architecture: string;
  n_parameters: number;
  /** The context window. */
  context_tokens: number;
  /** What computes: `cpu`, or the name of the GPU adapter. */
  device: string;
  /** The small model that guesses ahead, where there is one. */
  draft_name: string | null;
  /** Whether it was made to chat; without a template a model continues text. */
  has_chat_template: boolean;
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface SamplingOptions {
  max_tokens?: number;
  /** 0 takes the likeliest token each time. */
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  /** Same seed, same text. */
  seed?: number;
  stop?: string | readonly string[];
}

export type FinishReason = "stop" | "length";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
}

export interface Timings {
  prefill_tokens_per_s: number;
  decode_tokens_per_s: number;
}

/** How a reply ended. */
export interface ReplyEnd {
  finish_reason: FinishReason;
  usage: Usage;
  timings: Timings;
}
