/** What a reply's tokens tell. */
import type { Proposer, TracedToken } from "../store/records.ts";

export const PROPOSERS: readonly { by: Proposer; name: string; about: string }[] = [
  { by: "target", name: "target", about: "the target model’s own" },
  { by: "draft", name: "draft", about: "guessed by the draft model, and right" },
  { by: "ngram", name: "repeated", about: "guessed from what the text said before, and right" },
  { by: "forced", name: "forced", about: "the only one that the schema allows" },
];

/** 0 where the model all but guessed, 3 where it was sure. */
export function sureness(p: number): 0 | 1 | 2 | 3 {
  if (p < 0.1) return 0;
  if (p < 0.3) return 1;
  return p < 0.6 ? 2 : 3;
}

/** A token with its blanks to be seen. */
export function visible(text: string): string {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·") || "∅";
}

/** How long a rate is taken over at least: tokens come several at once. */
const SPAN_MS = 150;

/** Tokens a second around each token. */
export function ratesOf(trace: readonly TracedToken[]): number[] {
  return trace.map((_, at) => {
    let [from, to] = [at, at];
    const took_ms = () => (trace[to]?.at_ms ?? 0) - (trace[from]?.at_ms ?? 0);
    while (took_ms() < SPAN_MS && (from > 0 || to < trace.length - 1)) {
      from = Math.max(0, from - 1);
      to = Math.min(trace.length - 1, to + 1);
    }
    return took_ms() > 0 ? ((to - from) / took_ms()) * 1000 : 0;
  });
}
