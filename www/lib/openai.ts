/**
 * OpenAI's requests and replies, as `src/chat/openai` has them (a test compares the
 * names). Requests are checked there: what is unknown or wrong is an error that names
 * its place.
 */

/** Part of a message that is text. */
export interface ChatTextPart {
  type: "text";
  text: string;
}

/** A message's text, whole or in parts. */
export type ChatContent = string | readonly ChatTextPart[];

/** A message from whoever asks. */
export interface ChatAskingMessage {
  role: "system" | "developer" | "user";
  content: ChatContent;
  name?: string;
}

/** A message of the model's. */
export interface ChatAssistantMessage {
  role: "assistant";
  content?: ChatContent | null;
  name?: string;
  refusal?: string | null;
  reasoning_content?: string | null;
  tool_calls?: readonly ToolCall[];
}

/** A tool's result. */
export interface ChatToolMessage {
  role: "tool";
  content: ChatContent;
  /** The call that it is the result of. */
  tool_call_id: string;
  name?: string;
}

/** A message of a conversation. */
export type ChatMessage = ChatAskingMessage | ChatAssistantMessage | ChatToolMessage;

/** A call of a tool. */
export interface ToolCall {
  id: string;
  type: "function";
  function: {
    name: string;
    /** A JSON object's text, as the model wrote it. */
    arguments: string;
  };
}

/** A tool that the model may call. */
export interface Tool {
  type: "function";
  function: {
    name: string;
    description?: string;
    /** The JSON schema of its arguments. */
    parameters?: Record<string, unknown>;
    /** Whether a schema that cannot be enforced is an error; otherwise arguments are a
     * JSON object then, whatever is in it. */
    strict?: boolean | null;
  };
}

/** Whether the model calls tools. */
export type ToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

/** What the reply must look like. */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: { name?: string; description?: string; schema: Record<string, unknown>; strict?: boolean | null };
    }
  | { type: "regex"; regex: string }
  | { type: "grammar"; grammar: string }
  | { type: "choice"; choice: readonly string[] };

/** How guesses are made. None of it changes the text, except that `rejection` keeps only
 * its distribution. */
export interface SpeculationParams {
  /** `auto`: as far as pays on this device, which may be not at all. */
  mode?: "auto" | "off" | "fixed" | "tree";
  /** Tokens a round, with `fixed`. */
  draft_length?: number;
  /** Who guesses: the draft model, what the text said before, or both. */
  drafter?: "model" | "ngram" | "both";
  verification?: "exact" | "rejection";
  /** Whether pieces of a stream say what the rounds behind them did (`round`); false. */
  rounds?: boolean;
}

/** What to do where a conversation does not fit the context. `drop_oldest` leaves out whole
 * turns (a user's message and what follows it), the oldest first, about a quarter of the
 * context at a time so that the cache keeps the rest. System and developer messages and the
 * last turn always stay. */
export interface ContextOverflowParams {
  policy: "error" | "drop_oldest";
  /** Messages whose turns stay too, by index. */
  pinned?: readonly number[] | null;
  /** Tokens to keep free for the reply; `max_tokens`, but no more than a quarter of the
   * context, where not given. */
  reserve_tokens?: number | null;
}

/** What was left out of a conversation that did not fit. */
export interface ContextOverflow {
  /** The messages, by index. */
  dropped_messages: number[];
  /** Tokens by which the prompt is shorter. */
  dropped_tokens: number;
}

/** DRY: a token that would extend a repetition of `n` tokens, `n` being `allowed_length` or
 * more, loses `multiplier * base ** (n - allowed_length)`. */
export interface DryParams {
  /** 0.8. */
  multiplier?: number | null;
  /** 1.75. */
  base?: number | null;
  /** 2. */
  allowed_length?: number | null;
  /** How far to look back; 0, the default, is all the way. */
  last_n_tokens?: number | null;
  /** What a repetition does not reach across: line breaks, `:`, `"` and `*`. */
  breakers?: readonly string[] | null;
}

/** What requests of both kinds share. */
export interface SamplingParams {
  /** The engine's model by its name, or `tandem`; may be left out. */
  model?: string;
  /** 0 takes the likeliest token each time; 1. */
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  /** Keeps the tokens about as surprising as one expects, up to this much probability. */
  typical_p?: number | null;
  /** Same seed, same text. */
  seed?: number | null;
  /** Texts that end the reply and are not part of it. */
  stop?: string | readonly string[] | null;
  /** How many replies. */
  n?: number | null;
  /** Added to tokens' logits, by id. */
  logit_bias?: Record<string, number> | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  repetition_penalty?: number | null;
  /** Penalises tokens that would go on repeating what was said before. */
  dry?: DryParams | null;
  /** Goes on where the model would end its reply; for measuring. */
  ignore_eos?: boolean | null;
  response_format?: ResponseFormat;
  speculation?: SpeculationParams;
  stream_options?: { include_usage?: boolean; include_obfuscation?: boolean } | null;
  /** Ignored: a label for whoever bills requests. */
  user?: string;
}

/** A request for `chat.completions`. */
export interface ChatCompletionParams extends SamplingParams {
  messages: readonly ChatMessage[];
  stream?: boolean | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  logprobs?: boolean | null;
  /** 0 to 20, with `logprobs`. */
  top_logprobs?: number | null;
  tools?: readonly Tool[];
  tool_choice?: ToolChoice;
  parallel_tool_calls?: boolean;
  /** `none` asks templates that know thinking to leave it out, and lets no answer that is held
   * to a form begin with a thought. */
  reasoning_effort?: string | null;
  /** Variables for the model's chat template, such as `enable_thinking`. */
  chat_template_kwargs?: Record<string, unknown>;
  /** `error` where not given: a conversation that does not fit is not answered. */
  context_overflow?: "error" | "drop_oldest" | ContextOverflowParams;
  modalities?: readonly "text"[] | null;
  /** Ignored. */
  metadata?: Record<string, string> | null;
  /** Ignored: nothing is stored. */
  store?: boolean | null;
  /** Ignored. */
  service_tier?: string | null;
  /** Ignored. */
  safety_identifier?: string;
  /** Ignored: what a prompt shares with the one before is never read again. */
  prompt_cache_key?: string;
}

/** A request for `completions`. */
export interface CompletionParams extends SamplingParams {
  /** Text or ids to go on from, or several. */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  stream?: boolean | null;
  /** 16, as OpenAI has it. */
  max_tokens?: number | null;
  /** How many of the likeliest tokens to report at each position. */
  logprobs?: number | null;
  /** Whether the reply begins with the prompt. */
  echo?: boolean | null;
  /** As `n`, if anything. */
  best_of?: number | null;
}

/** Why a reply ended. */
export type FinishReason = "stop" | "length" | "tool_calls";

/** A piece of a streamed chat completion. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  /** Seconds since 1970. */
  created: number;
  model: string;
  /** One choice's news; none in the piece that says what was used. */
  choices: ChunkChoice[];
  usage?: Usage | null;
  /** In the first piece, where anything was left out of the conversation. */
  context_overflow?: ContextOverflow;
  /** With the last choice's end. */
  speculation?: SpeculationStats;
  /** With the last choice's end. */
  timings?: Timings;
  /** Where `speculation.rounds` asks for it. */
  round?: Round;
}

/** One choice's news. */
export interface ChunkChoice {
  index: number;
  delta: Delta;
  logprobs: Logprobs | null;
  finish_reason: FinishReason | null;
}

/** What is new: one kind of thing at a time. */
export interface Delta {
  role?: "assistant";
  content?: string;
  reasoning_content?: string;
  tool_calls?: ToolCallDelta[];
  tool_call_errors?: ToolCallError[];
}

/** A call that begins, or more of its arguments. */
export interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: FunctionDelta;
}

/** A call's name, where it begins, and more of its arguments. */
export interface FunctionDelta {
  name?: string;
  arguments: string;
}

/** A call that the model got wrong. */
export interface ToolCallError {
  /** The call among `tool_calls`; null where none had begun, and its text is in `content`. */
  index: number | null;
  /** What is wrong, in words that the model can mend it by. */
  message: string;
}

/** A chat completion. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: Choice[];
  usage: Usage;
  /** Where anything was left out of the conversation. */
  context_overflow?: ContextOverflow;
  speculation: SpeculationStats;
  timings: Timings;
}

/** One reply. */
export interface Choice {
  index: number;
  message: Message;
  logprobs: Logprobs | null;
  finish_reason: FinishReason;
}

/** What the model says. */
export interface Message {
  role: "assistant";
  /** Null where there are calls alone. */
  content: string | null;
  refusal: null;
  /** Thought. */
  reasoning_content?: string;
  tool_calls?: ToolCall[];
  tool_call_errors?: ToolCallError[];
}

/** Log-probabilities of a reply's tokens, those of thought and calls among them. */
export interface Logprobs {
  content: TokenLogprob[];
  refusal: null;
}

/** A token and how likely it was, before temperature, penalties and constraints; 0 for
 * one that a constraint left no choice about. */
export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes: number[];
  top_logprobs: TopLogprob[];
  /** Who proposed it: `draft` or `ngram` where a guess was right, `target` where there was
   * none, `forced` where a constraint left no choice. */
  source: "target" | "draft" | "ngram" | "forced";
}

/** One of the likeliest tokens. */
export interface TopLogprob {
  token: string;
  logprob: number;
  bytes: number[];
}

/** How many tokens. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: PromptTokensDetails;
  completion_tokens_details: CompletionTokensDetails;
}

/** About the prompt. */
export interface PromptTokensDetails {
  /** Tokens that the cache held: they were not read again. */
  cached_tokens: number;
}

/** About what was made. */
export interface CompletionTokensDetails {
  /** Drafted tokens that became text. */
  accepted_prediction_tokens: number;
  /** Drafted tokens that did not. */
  rejected_prediction_tokens: number;
}

/** How fast it went. */
export interface Timings {
  /** Tokens of the prompt read a second; 0 where none had to be. */
  prefill_tokens_per_s: number;
  /** Tokens made a second, once the prompt was read. */
  decode_tokens_per_s: number;
}

/** What the rounds behind a piece did, and how far the planner means to guess. */
export interface Round {
  /** Tokens drafted and verified. */
  num_draft_tokens: number;
  /** Of those, how many became text. */
  num_accepted_tokens: number;
  /** Tokens that the planner had drafted in the last of them. */
  planned_draft_tokens: number;
  /** Tokens a second that the planner expects of that, over those of plain decoding. */
  expected_speedup: number;
  /** Whether it only looked if guessing would pay. */
  look_only: boolean;
}

/** What speculation did. */
export interface SpeculationStats {
  /** Rounds in which something was drafted and verified. */
  num_drafts: number;
  num_draft_tokens: number;
  num_accepted_tokens: number;
  accepted_per_position: number[];
  /** Tokens that a verified round made, on average. */
  mean_acceptance_length: number;
  /** How many times as fast as plain decoding would have been, whose steps are measured meanwhile: 1 where
   * nothing was drafted; null where none was measured in time. */
  speedup: number | null;
}

/** A text completion, or a piece of one. */
export interface Completion {
  id: string;
  object: "text_completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage?: Usage | null;
  speculation?: SpeculationStats;
  timings?: Timings;
  /** Of pieces, where `speculation.rounds` asks for it. */
  round?: Round;
}

/** One reply, or its news. */
export interface CompletionChoice {
  text: string;
  index: number;
  logprobs: CompletionLogprobs | null;
  finish_reason: "stop" | "length" | null;
}

/** Log-probabilities in the older form: lists side by side. */
export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

/** What an engine has done since it was loaded. */
export interface EngineStats {
  /** Requests that were answered to their end. */
  requests: number;
  usage: Usage;
  speculation: SpeculationStats;
  decode_tokens_per_s: number;
}
