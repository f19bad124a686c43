/**
 * An engine that says what a test tells it to: it stands in for the worker, and speaks the
 * worker's side of `www/lib/protocol.ts`. For what depends on what is said and how fast,
 * which no model can be held to.
 */
import type { Page } from "../../www/page-testing.ts";

/** A reply's pieces, one after the other, with what was thought before it, or the tools that it calls. */
export type ScriptedReply = readonly string[] | { thinks: readonly string[]; says: readonly string[] } | { calls: readonly { name: string; arguments: Record<string, unknown> }[]; says?: string };

export interface Script {
  /** The last is given again and again. */
  replies: readonly ScriptedReply[];
  /** The model was made for tools: agents run, in the real worker. */
  tools?: boolean;
  /** Between pieces. */
  pause_ms?: number;
  /** After so many pieces of a reply, the worker dies. */
  crash_after?: number;
  /** After so many pieces of the first reply, it fails. */
  fail_after?: { n_pieces: number; code: string; message: string };
  device?: string;
  finish_reason?: "stop" | "length";
}

/** Cuts a text into pieces of about a token's length. */
export function inPieces(text: string): string[] {
  return text.match(/\s*\S{1,6}|\s+/g) ?? [];
}

/** Has every page that is opened from now on use a scripted engine. */
export async function scriptEngine(page: Page, script: Script): Promise<void> {
  await page.addInitScript((script: Script) => {
    const STATS = { num_drafts: 9, num_draft_tokens: 30, num_accepted_tokens: 20, accepted_per_position: [9, 7, 4] };
    // In the frames of the sandbox workers are what they are.
    if (window !== window.top) return;
    let n_replies = 0;
    const RealWorker = Worker;
    class ScriptedWorker {
      onmessage: ((event: { data: unknown }) => void) | null = null;
      onerror: unknown = null;
      #aborted = new Set<number>();
      #gone = false;
      /** Decides what agents do: no test is to decide that. */
      readonly #agent: Worker | undefined;

      constructor(...made: ConstructorParameters<typeof Worker>) {
        if (!script.tools) return;
        this.#agent = new RealWorker(...made);
        this.#agent.onmessage = ({ data }) => this.#post(data);
      }

      postMessage(message: { id: number; call?: string; request?: unknown; abort?: boolean }): void {
        if (message.abort) this.#aborted.add(message.id);
        else if (message.call === "agent") this.#agent?.postMessage(message);
        else if (message.call) void this.#answer(message.id, message.call, message.request);
      }

      terminate(): void {
        this.#gone = true;
        this.#agent?.terminate();
      }

      #post(data: unknown): void {
        if (!this.#gone) this.onmessage?.({ data });
      }

      async #answer(id: number, call: string, request: unknown): Promise<void> {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (call === "load" && "loads_fail" in window) this.#post({ id, error: { code: "format_unknown", message: "notes.gguf: is no model" } });
        else if (call === "load") {
          (window as { n_loads?: number }).n_loads = ((window as { n_loads?: number }).n_loads ?? 0) + 1;
          const reply = {
            model: "scripted",
            architecture: "llama",
            n_parameters: 1e6,
            device: script.device ?? "cpu",
            threads: 1,
            context_tokens: 2048,
            draft: "scripted-draft",
            has_chat_template: true,
            tool_calls: script.tools ? "hermes" : "generic",
            enforces_tool_calls: false,
            response_formats: ["text"],
            speculation_modes: ["auto", "off", "fixed"],
            max_top_logprobs: 20,
            max_choices: 8,
          };
          this.#post({ id, reply });
        } else if (call === "tokenize") this.#post({ id, reply: { token_ids: [1, 2, 3] } });
        else if (call === "chat" || call === "complete") await this.#speak(id, call, String(request));
        else this.#post({ id, reply: null });
      }

      async #speak(id: number, call: string, request: string): Promise<void> {
        (window as { asked?: unknown[] }).asked = [...((window as { asked?: unknown[] }).asked ?? []), JSON.parse(request)];
        const reply = script.replies[Math.min(n_replies, script.replies.length - 1)] ?? [];
        const thoughts = "thinks" in reply ? reply.thinks : [];
        const pieces = "calls" in reply ? (reply.says ? [reply.says] : []) : "thinks" in reply ? reply.says : reply;
        const calls = "calls" in reply ? reply.calls : [];
        const tool_calls = calls.map(({ name, arguments: given }, at) => ({
          id: `call-${n_replies}-${at}`,
          type: "function",
          function: { name, arguments: JSON.stringify(given) },
        }));
        n_replies += 1;
        const common = { id: "x", object: "x", created: 0, model: "scripted" };
        const began = performance.now();
        for (const reasoning_content of thoughts) {
          this.#post({ id, event: { ...common, choices: [{ index: 0, delta: { reasoning_content }, logprobs: null, finish_reason: null }] } });
        }
        for (const [at, piece] of pieces.entries()) {
          if (script.pause_ms === undefined) {
            if (at % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
          } else await new Promise((resolve) => setTimeout(resolve, script.pause_ms));
          if (this.#aborted.has(id)) {
            this.#post({ id, error: { code: "aborted", message: "stopped" } });
            return;
          }
          if (at === script.fail_after?.n_pieces) {
            const { code, message } = script.fail_after;
            delete script.fail_after;
            this.#post({ id, error: { code, message } });
            return;
          }
          if (at === script.crash_after) {
            script.crash_after = -1;
            this.#post({ fatal: { code: "internal", message: "crashed on request" } });
            return;
          }
          const top = [{ token: piece, logprob: -0.2, bytes: [] }, { token: " else", logprob: -2, bytes: [] }];
          const source = at % 3 === 0 ? "target" : "draft";
          const token = { token: piece, logprob: at % 5 === 0 ? -3 : -0.2, bytes: [], top_logprobs: top, source };
          const round = {
            num_draft_tokens: 3,
            num_accepted_tokens: 2,
            planned_draft_tokens: 3,
            expected_speedup: 1.7,
            look_only: false,
          };
          const choice =
            call === "chat"
              ? { index: 0, delta: { content: piece }, logprobs: { content: [token], refusal: null }, finish_reason: null }
              : { index: 0, text: piece, logprobs: null, finish_reason: null };
          this.#post({ id, event: { ...common, choices: [choice], round } });
        }
        // As engines write them: the name, then the arguments in pieces.
        for (const [index, { id: call, type, function: made }] of (script.pause_ms === undefined ? [] : tool_calls).entries()) {
          for (const delta of [{ name: made.name, arguments: "" }, ...(made.arguments.match(/.{1,4}/gs) ?? []).map((more) => ({ arguments: more }))]) {
            await new Promise((resolve) => setTimeout(resolve, script.pause_ms));
            this.#post({ id, event: { ...common, choices: [{ index: 0, delta: { tool_calls: [{ index, id: call, type, function: delta }] }, logprobs: null, finish_reason: null }] } });
          }
        }
        const finish_reason = tool_calls.length > 0 ? "tool_calls" : (script.finish_reason ?? "stop");
        const usage = {
          prompt_tokens: 12,
          completion_tokens: pieces.length,
          total_tokens: 12 + pieces.length,
          prompt_tokens_details: { cached_tokens: 0 },
          completion_tokens_details: { accepted_prediction_tokens: 20, rejected_prediction_tokens: 10 },
        };
        const speculation = { ...STATS, mean_acceptance_length: 2.2, speedup: 1.7 };
        const timings = {
          prefill_tokens_per_s: 900,
          decode_tokens_per_s: (pieces.length / Math.max(1, performance.now() - began)) * 1000,
        };
        const choices = [{ index: 0, message: { role: "assistant", content: pieces.join(""), ...(tool_calls.length > 0 ? { tool_calls } : {}) }, text: "", finish_reason }];
        this.#post({ id, reply: { ...common, choices, usage, speculation, timings } });
      }
    }
    (window as { Worker: unknown }).Worker = ScriptedWorker;
  }, script);
}

/** What the engine was asked, so far. */
export function asked(page: Page): Promise<{ messages?: { role: string; content: string }[]; prompt?: unknown }[]> {
  return page.evaluate(() => (window as { asked?: unknown[] }).asked ?? []) as ReturnType<typeof asked>;
}
