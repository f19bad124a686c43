import { expect, openLibrary, test } from "../../www/page-testing.ts";
import { Tandem } from "../../www/lib/index.ts";
import { embedded } from "../../www/lib/embedded.ts";
import type { ToWorker } from "../../www/lib/protocol.ts";

test("a stream is the whole in pieces, and speculation does not change it", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine } = window.testing;
    const body = {
      messages: [{ role: "user", content: "Tell me a story about a dog." }],
      max_tokens: 60,
      seed: 7,
    } as const;
    const stream = await engine.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    const chunks = [];
    for await (const chunk of stream) {
      chunks.push(chunk);
      text += chunk.choices[0]?.delta.content ?? "";
    }
    const whole = await stream.final();
    const plain = await engine.chat.completions.create({ ...body, speculation: { mode: "off" } });
    const drafted = await engine.chat.completions.create({ ...body, speculation: { mode: "fixed", draft_length: 4 } });
    return { text, chunks, whole, plain, drafted };
  });
  const { text, chunks, whole, plain, drafted } = found;
  expect(chunks.length).toBeGreaterThan(10);
  expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
  expect(text).toBe(whole.choices[0]?.message.content);
  expect(plain.choices).toEqual(whole.choices);
  expect(drafted.choices).toEqual(whole.choices);
  expect(plain.speculation.num_drafts).toBe(0);
  expect(drafted.speculation.num_accepted_tokens).toBeGreaterThan(0);
});

test("tools are called with arguments that fit, and a schema is kept to", async ({ page }) => {
  await openLibrary(page);
  const { called, said } = await page.evaluate(async () => {
    const { engine } = window.testing;
    const parameters = {
      type: "object",
      properties: { city: { type: "string", maxLength: 30 }, days: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["city", "days"],
      additionalProperties: false,
    };
    const called = await engine.chat.completions.create({
      messages: [{ role: "user", content: "What is the weather in Oslo?" }],
      tools: [{ type: "function", function: { name: "weather", description: "Weather now", parameters } }],
      tool_choice: "required",
      parallel_tool_calls: false,
      // By chance a model may name a city for longer than it has tokens.
      temperature: 0,
      reasoning_effort: "none",
      max_tokens: 300,
    });
    const said = await engine.chat.completions.create({
      messages: [{ role: "user", content: "Where is Ann, and for how long?" }],
      response_format: { type: "json_schema", json_schema: { name: "stay", schema: parameters, strict: true } },
      temperature: 0,
      reasoning_effort: "none",
      max_tokens: 300,
    });
    return { called, said };
  });
  const choice = called.choices[0];
  expect(choice?.finish_reason).toBe("tool_calls");
  const call = choice?.message.tool_calls?.[0];
  expect(call).toMatchObject({ type: "function", function: { name: "weather" } });
  for (const json of [call?.function.arguments, said.choices[0]?.message.content]) {
    const stay = JSON.parse(json ?? "") as Record<string, unknown>;
    expect(stay).toEqual({ city: expect.any(String) as unknown, days: expect.any(Number) as unknown });
  }
});

test("what is wrong with a request is said, and the next one is answered", async ({ page }) => {
  await openLibrary(page);
  const errors = await page.evaluate(async () => {
    const { engine, TandemError } = window.testing;
    const messages = [{ role: "user", content: "hi" }];
    const wrong: Record<string, unknown>[] = [
      { messages, temprature: 1 },
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      { messages, model: "gpt-9" },
      { messages: [{ role: "user", content: "word ".repeat(3000) }] },
      { messages, response_format: { type: "json_schema", json_schema: { schema: { not: {} } } } },
      { messages, stream: true, n: 0 },
    ];
    const errors = [];
    for (const body of wrong) {
      const error: unknown = await engine.chat.completions.create(body as never).catch((error: unknown) => error);
      if (!(error instanceof TandemError)) throw new Error(`accepted: ${JSON.stringify(body)}`);
      errors.push([error.code, error.param, error.status]);
    }
    await engine.chat.completions.create({ messages: [{ role: "user", content: "hi" }], max_tokens: 2 });
    return errors;
  });
  expect(errors).toEqual([
    ["request_invalid", "temprature", 400],
    ["request_invalid", "messages[0].content[0].type", 400],
    ["request_invalid", "model", 404],
    ["context_overflow", "messages", 400],
    ["constraint_invalid", "json_schema", 400],
    ["request_invalid", "n", 400],
  ]);
});

test("replies are stopped by signal, by leaving the loop and while they wait", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine, TandemError } = window.testing;
    const body = {
      messages: [{ role: "user", content: "Tell me a long story." }],
      logit_bias: { 2: -100 },
      max_tokens: 700,
      stream: true,
    } as const;
    const codeOf = (error: unknown) => (error instanceof TandemError ? error.code : String(error));
    // By signal, while a second waits behind it and is stopped first.
    const first = new AbortController();
    const second = new AbortController();
    const stream = await engine.chat.completions.create(body, { signal: first.signal });
    const waits = engine.chat.completions.create(body, { signal: second.signal }).catch(codeOf);
    second.abort();
    const waited = await waits;
    let n_pieces = 0;
    let stopped = "";
    try {
      for await (const chunk of stream) {
        n_pieces += chunk.choices.length;
        if (n_pieces === 3) first.abort();
      }
    } catch (error) {
      stopped = codeOf(error);
    }
    // By leaving the loop.
    for await (const chunk of await engine.chat.completions.create(body)) {
      if (chunk.choices[0]?.delta.content) break;
    }
    const next = await engine.chat.completions.create({ ...body, stream: false, max_tokens: 3 });
    return { waited, stopped, n_pieces, next: next.usage.completion_tokens };
  });
  expect(found).toMatchObject({ waited: "aborted", stopped: "aborted", next: 3 });
  expect(found.n_pieces).toBeLessThan(100);
});

test("the engine waits for a reader that falls behind", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine } = window.testing;
    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const body = {
      messages: [{ role: "user", content: "Tell me a long story." }],
      logit_bias: { 2: -100, 0: -100 },
      max_tokens: 200,
      speculation: { mode: "off" },
    } as const;
    const began = performance.now();
    await engine.chat.completions.create(body);
    const whole_ms = performance.now() - began;
    const stream = await engine.chat.completions.create({ ...body, stream: true });
    // It would be through by now, were it not for the reader.
    await sleep(2 * whole_ms + 500);
    let answered = false;
    const behind = engine.stats().then(() => (answered = true));
    await sleep(300);
    const early = answered;
    let n_pieces = 0;
    for await (const chunk of stream) n_pieces += chunk.choices.length;
    await behind;
    return { early, n_pieces };
  });
  expect(found.early).toBe(false);
  expect(found.n_pieces).toBeGreaterThan(100);
});

test("texts are continued, scored, classified and tokenized, and counted", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine } = window.testing;
    const before = await engine.stats();
    const text = "Once upon a time, there was a little girl.";
    const { token_ids } = await engine.tokenize(text);
    const { text: again } = await engine.detokenize(token_ids);
    const scored = await engine.score(text);
    const labels = await engine.classify({ text: "a big red ball", prompt: "She saw {text}. The", labels: [" ball", " dog"] });
    const continued = await engine.completions.create({ prompt: "Once upon a", max_tokens: 5, temperature: 0, echo: true });
    const after = await engine.stats();
    return { token_ids, again, text, scored, labels, continued, n_requests: after.requests - before.requests, capabilities: engine.capabilities };
  });
  expect(found.again).toBe(found.text);
  expect(found.scored.token_ids).toEqual(found.token_ids);
  expect(found.scored.perplexity).toBeLessThan(100);
  expect(found.labels[0]?.label).toBe(" ball");
  expect(found.continued.choices[0]?.text).toMatch(/^Once upon a time/);
  expect(found.n_requests).toBe(1);
  expect(found.capabilities).toMatchObject({ device: "cpu", tool_calls: "hermes", enforces_tool_calls: true, has_chat_template: true });
});

test("it can be imported where there is no browser, and takes a worker of one's own", async () => {
  // This spec runs in Node: the imports above have already worked.
  expect(embedded("https://example.com/m/").draft).toEqual({ url: "https://example.com/m/tandem-draft-q8_0.gguf" });
  const sent: ToWorker[] = [];
  let ended = false;
  const worker = {
    onmessage: (_: { data: unknown }) => undefined,
    postMessage(message: ToWorker) {
      sent.push(message);
      if ("call" in message) this.onmessage({ data: { id: message.id, reply: { model: "stub" } } });
    },
    terminate: () => (ended = true),
  };
  const target = { url: "https://example.com/a.gguf" };
  const engine = await Tandem.load({ worker: worker as unknown as Worker, target, wasmUrl: "https://example.com/t.wasm" });
  expect(engine.capabilities.model).toBe("stub");
  expect(sent[0]).toMatchObject({ call: "load", request: { target, wasmUrl: "https://example.com/t.wasm", options: { device: "auto" } } });
  engine.dispose();
  expect(ended).toBe(true);
  await expect(engine.stats()).rejects.toMatchObject({ code: "aborted" });
});
