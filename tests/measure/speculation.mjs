/**
 * What guessing gains in Chromium with the pair that ships: every mode in turns with
 * plain decoding, medians. Fails where any mode changes the text (what it needs:
 * testing_page.mjs):
 *
 *     TANDEM_CHROMIUM=/usr/bin/chromium node tests/measure/speculation.mjs [RUNS]
 */
import { openTestingPage } from "./testing_page.mjs";

const [runs = "7"] = process.argv.slice(2);
const STORY = "Once upon a time, there was a little girl named Lily. She lived in a small house near the forest with her mom and dad. One day, Lily went";
const CASES = [
  { name: "a story, greedy", prompt: STORY, temperature: 0, drafter: "model" },
  { name: "a story, temperature 0.8", prompt: STORY, temperature: 0.8, drafter: "model" },
  { name: "a story told again, greedy, guesses from the text", prompt: `${STORY} to the lake to catch a fish. Lily went home and told her mom about the fish and the lake.\n\n${STORY}`, temperature: 0, drafter: "ngram" },
];
const MODES = [{ mode: "off" }, ...[1, 2, 3, 4].map((draft_length) => ({ mode: "fixed", draft_length })), { mode: "auto" }];

const { page, close } = await openTestingPage();

/** Milliseconds a token after the first piece, and the text. */
const once = (request) =>
  page.evaluate(async (request) => {
    const stream = await window.testing.engine.completions.create({ ...request, seed: 7, max_tokens: 256, ignore_eos: true, stream: true, stream_options: { include_usage: true } });
    let first;
    let until;
    let n_tokens;
    let text = "";
    for await (const { choices, usage } of stream) {
      const piece = choices[0]?.text;
      if (piece) {
        until = performance.now();
        first ??= until;
        text += piece;
      }
      n_tokens = usage?.completion_tokens ?? n_tokens;
    }
    return { ms: (until - first) / (n_tokens - 1), text };
  }, request);
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

for (const { name, drafter, ...request } of CASES) {
  const times = MODES.map(() => []);
  const texts = new Set();
  for (let run = 0; run <= Number(runs); run += 1) {
    for (const [i, mode] of MODES.entries()) {
      const { ms, text } = await once({ ...request, speculation: { ...mode, drafter } });
      texts.add(text);
      if (run > 0) times[i].push(ms); // the first is for what is compiled late
    }
  }
  if (texts.size !== 1) throw new Error(`${name}: ${String(texts.size)} texts`);
  const [plain, ...others] = times.map(median);
  const gains = others.map((ms, i) => `${MODES[i + 1].draft_length ?? "planner"}: ${(plain / ms).toFixed(2)}`);
  console.log(`${name}: ${(1000 / plain).toFixed(0)} tokens/s plain; ${gains.join(", ")}`);
}
await close();
