/** The engine on several threads: the page that `cargo xtask serve` serves is isolated. */
import { builtWithThreads, expect, openLibrary, serveFolder, SITE, test } from "../../www/page-testing.ts";

test.skip(!builtWithThreads(), "threads: the engine was built without (rustup component add rust-src)");

const BODY = {
  messages: [{ role: "user", content: "Tell me a story about a dog." }],
  max_tokens: 80,
  seed: 7,
} as const;

interface Told {
  threads: number;
  text: string | null | undefined;
  json: string | null | undefined;
  plain_tokens_per_s: number;
  tokens_per_s: number;
  prefill_tokens_per_s: number;
}

test("an isolated page computes on all threads, to the same words, faster", async ({ page }, info) => {
  test.setTimeout(300_000);
  const plain = await serveFolder(SITE);
  const told: Told[] = [];
  try {
    for (const open of [() => openLibrary(page), () => page.goto(`${plain.url}testing/`)]) {
      await open();
      await page.waitForFunction(() => "testing" in window, undefined, { timeout: 120_000 });
      told.push(
        await page.evaluate(async (body) => {
          const { engine } = window.testing;
          const create = engine.chat.completions;
          const first = await create.create(body);
          const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false };
          const json = await create.create({ ...body, response_format: { type: "json_schema", json_schema: { schema } } });
          const rates: [number, number, number][] = [];
          for (let turn = 0; turn < 3; turn += 1) {
            const messages = [{ role: "user", content: `${turn} ${"A dog sat by the door. ".repeat(30)} What did the dog do?` }] as const;
            const off = await create.create({ ...body, messages, ignore_eos: true, speculation: { mode: "off" } });
            const auto = await create.create({ ...body, messages, ignore_eos: true });
            rates.push([off.timings.decode_tokens_per_s, auto.timings.decode_tokens_per_s, off.timings.prefill_tokens_per_s]);
          }
          const best = (i: 0 | 1 | 2) => Math.max(...rates.map((rate) => rate[i]));
          return {
            threads: engine.capabilities.threads,
            text: first.choices[0]?.message.content,
            json: json.choices[0]?.message.content,
            plain_tokens_per_s: best(0),
            tokens_per_s: best(1),
            prefill_tokens_per_s: best(2),
          };
        }, BODY),
      );
    }
  } finally {
    plain.stop();
  }
  const [many, one] = told;
  info.annotations.push({ type: "measured", description: JSON.stringify(told) });
  if (process.env["TANDEM_SHOW"]) console.log(told);
  expect(one?.threads).toBe(1);
  expect(many?.threads).toBe(Math.min(await page.evaluate(() => navigator.hardwareConcurrency), 8));
  expect(many?.text).toBe(one?.text);
  expect(many?.json).toBe(one?.json);
});

test("models that are loaded one after the other find their threads again", async ({ page }) => {
  await openLibrary(page);
  const threads = await page.evaluate(async () => {
    const { Tandem } = window.testing;
    const seen = [];
    for (let turn = 0; turn < 3; turn += 1) {
      const engine = await Tandem.load({ device: "cpu", contextTokens: 128 });
      seen.push(engine.capabilities.threads);
      await engine.completions.create({ prompt: "A dog", max_tokens: 3 });
      engine.dispose();
    }
    return [navigator.hardwareConcurrency, ...seen];
  });
  const most = Math.min(threads[0] ?? 1, 8);
  expect(threads.slice(1)).toEqual([most, most, most]);
});
