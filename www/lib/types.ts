/** How far a load has come. */
export interface LoadProgress extends ReadProgress {
  /** Whether bytes come from the network, or are read into the engine. What is downloaded
   * is read at the same time; that part is told as `download`. */
  phase: "download" | "read";
  /** At the rate of the last seconds; null before there is one. */
  seconds_left: number | null;
  /** Whether what is downloaded is kept for the next time: not where the disk is full,
   * or the browser gives no leave. */
  stored: boolean;
}

/** How much was read. */
export interface ReadProgress {
  /** Bytes so far, of the files known so far. */
  loaded_bytes: number;
  /** Bytes those files have in all. */
  total_bytes: number;
  /** The file at hand. */
  file: string;
}

/**
 * Where a model is:
 * - a Hugging Face repository: `owner/name`, `owner/name:Q4_K_M` or `owner/name/file.gguf`;
 * - the address of a `.gguf` file, or of a folder as Hugging Face has them;
 * - a file, or files, that the person chose: one `.gguf`, or the files of such a folder;
 * - a folder that the person chose.
 */
export type ModelSource =
  | string
  | URL
  | Blob
  | FileSystemDirectoryHandle
  | { files: readonly File[]; name?: string }
  | {
      url: string | URL;
      /** Such as an authorisation: sent to that address alone, and never stored. */
      headers?: Record<string, string>;
      /** The file's SHA-256 in hexadecimal: what comes is held to it. */
      sha256?: string;
    }
  | HubModel;

/** A repository of Hugging Face's hub, or of a mirror. */
export interface HubModel {
  /** `owner/name`. */
  hub: string;
  /** The weights to take; chosen by `quant`, or for you, where not given. */
  file?: string;
  /** Such as `Q4_K_M`: the GGUF file with this in its name. */
  quant?: string;
  /** A branch, a tag or a commit; `main` where not given. */
  revision?: string;
  /** For gated repositories. It stays in the worker's memory. */
  token?: string;
  /** A mirror's address; `https://huggingface.co` where not given. */
  endpoint?: string;
}

/** How downloads are made and kept. */
export interface StorageOptions {
  /** Whether to keep what comes, for the next load; true. */
  keep?: boolean;
  /** Bytes of a range: what is lost at most when the page goes away; 8 MiB. */
  rangeBytes?: number;
  /** Ranges fetched at a time; 3. */
  parallel?: number;
  /** Milliseconds without a byte after which a connection is given up; 30 000. */
  stallMs?: number;
  /** Failures in a row after which a download is; 8. */
  retries?: number;
  /** Milliseconds to wait after the first failure, twice that after the second; 500. */
  backoffMs?: number;
}

/** What computes. `auto` takes a real GPU where there is one; a GPU that is only
 * emulated is slower than the processor itself. */
export type Device = "auto" | "cpu" | "gpu";

/** What to load, and how. */
export interface LoadOptions {
  /** The model that speaks; the pair that ships with the package where not given. */
  target?: ModelSource;
  /** A small model with the same tokenizer that guesses ahead. It makes replies
   * faster, and never changes them. */
  draft?: ModelSource;
  /** `auto` where not given. */
  device?: Device;
  /** The context window; the model's own, up to 4096, where not given. */
  contextTokens?: number;
  /** Refuses to load what needs more memory (`out_of_memory`). */
  memoryBudgetBytes?: number;
  /** The most of the processor's threads to compute on, where it computes and the page is
   * cross-origin isolated: up to four of them, and half of more up to eight, where not
   * given. The words do not depend on it. */
  threads?: number;
  /** How downloads are made, and kept in the browser's private file system, from where the
   * next load has them. */
  storage?: StorageOptions;
  /** Whether tabs of this site that load the same, in the same way, are to have one engine
   * among them; false. The first tab has it; where that goes, another loads it. Requests that
   * had told nothing yet are then asked again, replies in the making fail with `engine_moved`.
   * Files and folders are not shared, nor is anything where the browser has no Web Locks or no
   * `BroadcastChannel`, or a `worker` was given: that tab gets an engine of its own. */
  shared?: boolean;
  /** Called as bytes arrive; of a shared engine also when this tab loads it in place of
   * another one. */
  onProgress?: (progress: LoadProgress) => void;
  /** Stops the load. */
  signal?: AbortSignal;
  /** Where the engine is, where a bundler or a CDN has moved it: `tandem_bg.wasm`. */
  wasmUrl?: string | URL;
  /** Where the worker's module is, if not beside this one. It must be of the page's own
   * origin, as every worker. */
  workerUrl?: string | URL;
  /** A worker that runs `tandem-llm`'s worker module already; the engine owns it from
   * then on. */
  worker?: Worker;
}

/** A server to connect to. */
export interface ConnectOptions {
  /** As for other clients of OpenAI's interface: `http://127.0.0.1:8080/v1`. */
  baseURL: string | URL;
  /** One of the server's models; its first where not given. */
  model?: string;
  /** Kept in memory only, and sent to that server alone. */
  apiKey?: string;
  /** Sent with every request. */
  headers?: Record<string, string>;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
  /** Stops connecting. */
  signal?: AbortSignal;
}

/** What an engine can do with the models it has. */
export interface Capabilities {
  /** The name to ask for the model by; `tandem` is always understood too. */
  model: string;
  /** Its architecture, such as `llama`. */
  architecture: string;
  n_parameters: number;
  /** What computes: `cpu`, or the name of the GPU adapter. */
  device: string;
  /** On how many of the processor's threads; 1 where the GPU computes. */
  threads: number;
  /** The context window in use. */
  context_tokens: number;
  /** The small model that guesses ahead, where there is one. */
  draft: string | null;
  /** Whether it was made to chat; without a template of its own a stand-in is used, and
   * `completions` suits it better. */
  has_chat_template: boolean;
  /** The family whose tool calls it writes; `generic` where it is told of tools in words. */
  tool_calls: string;
  /** Whether calls that it begins by itself are held to the tools' schemas. Those that a
   * request requires always are. */
  enforces_tool_calls: boolean;
  /** The types of `response_format`. */
  response_formats: string[];
  /** The words that `speculation.mode` takes. */
  speculation_modes: string[];
  max_top_logprobs: number;
  max_choices: number;
}

/** What to turn into ids: a text, or messages as the model would read them. */
export interface TokenizeParams {
  text?: string;
  messages?: readonly unknown[];
  /** Whether tokens that begin a text are added, where the tokenizer has any; true. */
  add_special?: boolean;
  /** Whether control tokens that the text spells are read as such; false. */
  parse_special?: boolean;
}

/** A text's tokens. */
export interface Tokenized {
  token_ids: number[];
}

/** Ids to turn into text. */
export interface DetokenizeParams {
  token_ids: readonly number[];
  /** Whether control tokens are left out; false. */
  skip_special?: boolean;
}

/** Tokens' text. */
export interface Detokenized {
  text: string;
}

/** A text to score. */
export interface ScoreParams {
  text: string;
}

/** How likely a text is. */
export interface Scored {
  token_ids: number[];
  /** `ln p` of every token but the first, given all before it. */
  logprobs: number[];
  /** Their sum. */
  total_logprob: number;
  /** `exp` of the mean surprise of a token. */
  perplexity: number;
}

/** A text, and the labels one of which fits it best. */
export interface ClassifyParams {
  text: string;
  labels: readonly string[];
  /** What stands before the label, with `{text}` where the text goes; the text and a line
   * break where neither it nor `messages` is given. */
  prompt?: string;
  /** A conversation that a label answers, with `{text}` where the text goes. */
  messages?: readonly unknown[];
  /** Whether labels are held against how likely they are after an empty text; true. */
  calibrate?: boolean;
}

/** How well a label fits. */
export interface LabelScore {
  label: string;
  /** Of all labels, after calibration; they add up to 1. */
  probability: number;
  /** `ln p` of the label after the prompt. */
  logprob: number;
  /** The same after an empty text; 0 without calibration. */
  empty_logprob: number;
}
