/** Code that runs for the first time is slow, and the first reply is when nobody wants to
 * wait: what it will need runs once before, in pieces, while nothing else is to be done. */
import { rendered } from "./render.ts";
import { highlighter } from "./rich.svelte.ts";

const SAMPLES = [
  "A **word**, *another*, `code` and a [link](https://example.com).",
  "- one\n- two\n  - inner",
  "| a | b |\n|---|---|\n| 1 | 2 |",
  "```typescript\nexport const a: number = 1; // one\n```",
  "```rust\nfn main() {}\n```",
];

export function warmUp(): void {
  highlighter.get();
  const samples = [...SAMPLES];
  const next = () => {
    const sample = samples.shift();
    if (sample === undefined) return;
    rendered(sample);
    requestIdleCallback(next);
  };
  requestIdleCallback(next);
}
