/** What speculation is doing while a reply is made. */
import type { Round } from "tandem-llm";

/** How long the present lasts, for rates. */
const WINDOW_MS = 2_000;

/** The gauge's numbers. They change a few times a second at most, for calm. */
export class Live {
  tokens_per_s = $state(0);
  /** Of what was drafted; null before anything was. */
  acceptance = $state<number | null>(null);
  /** Tokens that the planner has drafted now. */
  draft_length = $state<number | null>(null);
  expected_speedup = $state<number | null>(null);
  reason = $state("");
  #arrivals: { at: number; n_tokens: number }[] = [];
  #n_drafted = 0;
  #n_accepted = 0;
  #shown_at = 0;
  #last: Round | null = null;

  begin(): void {
    this.tokens_per_s = 0;
    this.acceptance = null;
    this.draft_length = null;
    this.expected_speedup = null;
    this.reason = "";
    this.#arrivals = [];
    this.#n_drafted = 0;
    this.#n_accepted = 0;
    this.#last = null;
  }

  /** Takes note of a round. */
  heard(n_tokens: number, round: Round | null): void {
    const now = performance.now();
    if (n_tokens > 0) this.#arrivals.push({ at: now, n_tokens });
    if (round) {
      this.#n_drafted += round.num_draft_tokens;
      this.#n_accepted += round.num_accepted_tokens;
      this.#last = round;
    }
    if (now - this.#shown_at >= 250) this.#show(now);
  }

  #show(now: number): void {
    this.#shown_at = now;
    while ((this.#arrivals[0]?.at ?? now) < now - WINDOW_MS) this.#arrivals.shift();
    const first = this.#arrivals[0];
    if (first && now - first.at > 100) {
      const n_tokens = this.#arrivals.reduce((sum, { n_tokens }) => sum + n_tokens, -first.n_tokens);
      this.tokens_per_s = (n_tokens / (now - first.at)) * 1000;
    }
    if (this.#n_drafted > 0) this.acceptance = this.#n_accepted / this.#n_drafted;
    if (!this.#last) return;
    this.draft_length = this.#last.planned_draft_tokens;
    this.expected_speedup = this.#last.expected_speedup;
    this.reason = reasonOf(this.#last);
  }
}

/** The planner's choice in words. */
export function reasonOf({ planned_draft_tokens: planned, expected_speedup, look_only }: Round): string {
  if (look_only) return "looking whether guessing pays by now";
  if (planned === 0) return "no guessing: it would not pay here";
  if (expected_speedup < 1) return "as asked, though it does not pay here";
  return `guessing ${planned} ahead pays here`;
}
