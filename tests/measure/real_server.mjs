/**
 * `Tandem.connect` against a server that others wrote, with a checkpoint of ours behind it.
 *
 *     python tests/measure/serve_shipped.py target/shipped &
 *     cargo xtask package
 *     node tests/measure/real_server.mjs target/package/tandem-llm http://127.0.0.1:8000/v1 [MODEL]
 *
 * Says what came of each way to ask; exits with 1 where one of them fails.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, baseURL, model] = process.argv.slice(2);
const { Tandem, TandemError } = await import(pathToFileURL(resolve(folder, "dist/index.js")).href);

let n_failed = 0;

async function ask(what, how) {
  const start = performance.now();
  try {
    const said = await how();
    console.log(`${what}: ${JSON.stringify(said)} (${Math.round(performance.now() - start)} ms)`);
  } catch (error) {
    n_failed += 1;
    console.log(`${what}: FAILED, ${error instanceof TandemError ? error.code : error?.name}: ${error?.message}`);
  }
}

function check(condition, what) {
  if (!condition) throw new Error(what);
}

const engine = await Tandem.connect({ baseURL, ...(model ? { model } : {}) });
console.log(`connected: ${JSON.stringify(engine.capabilities)}`);
const messages = [{ role: "user", content: "Tell me a story about a dog." }];
const greedy = { messages, temperature: 0, max_tokens: 40 };

let whole;
await ask("a reply", async () => {
  whole = await engine.chat.completions.create(greedy);
  const { choices, usage } = whole;
  check(choices[0].message.content.length > 20, "it says next to nothing");
  check(usage.completion_tokens > 0 && usage.prompt_tokens > 0, "nothing was counted");
  return { text: choices[0].message.content, finish_reason: choices[0].finish_reason, usage };
});
await ask("the same in pieces", async () => {
  const stream = await engine.chat.completions.create({ ...greedy, stream: true, stream_options: { include_usage: true } });
  let [text, n_pieces, last] = ["", 0];
  for await (const piece of stream) {
    text += piece.choices[0]?.delta.content ?? "";
    n_pieces += 1;
    last = piece;
  }
  check(text === whole.choices[0].message.content, `another text: ${text}`);
  return { n_pieces, usage: last.usage, finish_reason: (await stream.final()).choices[0].finish_reason };
});
await ask("a stop", async () => {
  const controller = new AbortController();
  const stream = await engine.chat.completions.create({ ...greedy, max_tokens: 2000, stream: true }, { signal: controller.signal });
  let n_pieces = 0;
  try {
    for await (const _ of stream) if (++n_pieces === 5) controller.abort();
  } catch (error) {
    check(error.code === "aborted", `it ended with ${error.code}`);
    return { n_pieces };
  }
  throw new Error("it did not stop");
});
await ask("an error", async () => {
  const error = await engine.chat.completions.create({ messages, model: "no/such-model" }).catch((error) => error);
  check(error instanceof TandemError, "it answered all the same");
  return { code: error.code, status: error.status, message: error.message.slice(0, 100) };
});
await ask("a tool", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const tools = [{ type: "function", function: { name: "weather", description: "Weather in a city", parameters } }];
  const reply = await engine.chat.completions.create({ ...greedy, messages: [{ role: "user", content: "What is the weather in Oslo?" }], tools });
  const { content, tool_calls } = reply.choices[0].message;
  return { content, tool_calls };
});
await ask("the openai package's way in", async () => {
  const response = await engine.fetch("http://tandem/v1/chat/completions", { method: "POST", body: JSON.stringify(greedy) });
  const reply = await response.json();
  check(reply.choices[0].message.content === whole.choices[0].message.content, "another text");
  return { status: response.status };
});
console.log(`stats: ${JSON.stringify(await engine.stats())}`);
engine.dispose();
process.exitCode = n_failed > 0 ? 1 : 0;
