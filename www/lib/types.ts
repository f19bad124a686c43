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
  /** Called as bytes arrive. */
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

/** What an engine can do with the models it has. */
export interface Capabilities {
  /** The name to ask for the model by; `tandem` is always understood too. */
  model: string;
  /** Its architecture, such as `llama`. */
  architecture: string;
  n_parameters: number;
  /** What computes: `cpu`, or the name of the GPU adapter. */
  device: string;
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
