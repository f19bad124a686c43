/** Clients that others made, unchanged, on `engine.fetch`. */
import { expect, openLibrary, test } from "../../www/page-testing.ts";

test("the openai client chats, streams, calls tools and keeps to schemas", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine, OpenAI } = window.testing;
    const client = new OpenAI({
      baseURL: "http://tandem/v1",
      apiKey: "none",
      fetch: engine.fetch,
      dangerouslyAllowBrowser: true,
    });
    const models = (await client.models.list()).data;
    const model = models[0]?.id ?? "";
    const common = { model, max_tokens: 40, seed: 3, messages: [{ role: "user" as const, content: "Tell me a story." }] };
    const whole = await client.chat.completions.create(common);
    const stream = await client.chat.completions.create({ ...common, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    const parameters = { type: "object", properties: { city: { type: "string", maxLength: 30 } }, required: ["city"], additionalProperties: false };
    const tools = [{ type: "function" as const, function: { name: "weather", description: "Weather now", parameters } }];
    const asked = { model, max_tokens: 300, temperature: 0, messages: [{ role: "user" as const, content: "What is the weather in Oslo?" }], tools };
    const required = { ...asked, tool_choice: "required" as const, parallel_tool_calls: false, seed: 1 };
    const called = await client.chat.completions.create(required);
    // The client's own way of putting a stream together.
    const streamed = await client.chat.completions.stream(required).finalChatCompletion();
    const message = called.choices[0]?.message;
    const call = message?.tool_calls?.[0];
    if (!message || !call) throw new Error("no call");
    const answered = await client.chat.completions.create({
      ...asked,
      messages: [...asked.messages, message, { role: "tool", tool_call_id: call.id, content: "Rain" }],
    });
    const schema = { type: "object", properties: { age: { type: "integer", minimum: 0, maximum: 99 } }, required: ["age"], additionalProperties: false };
    const json = await client.chat.completions.create({
      ...common,
      reasoning_effort: "none" as const, // a model may think for longer than it has tokens
      temperature: 0,
      response_format: { type: "json_schema", json_schema: { name: "age", schema, strict: true } },
    });
    const completed = await client.completions.create({ model, prompt: "Once upon a", max_tokens: 4, temperature: 0 });
    return { model, whole, text, usage, called, streamed, answered, json, completed };
  });
  expect(found.model).not.toBe("");
  expect(found.text).toBe(found.whole.choices[0]?.message.content);
  expect(found.usage?.completion_tokens).toBe(found.whole.usage?.completion_tokens);
  const call = found.called.choices[0]?.message.tool_calls?.[0];
  expect(call?.type === "function" && (JSON.parse(call.function.arguments) as unknown)).toEqual({ city: expect.any(String) as unknown });
  const again = found.streamed.choices[0]?.message.tool_calls?.[0];
  expect(again).toMatchObject({ type: "function", function: call?.type === "function" ? call.function : {} });
  expect(found.answered.choices[0]?.finish_reason).toMatch(/stop|length|tool_calls/);
  expect(JSON.parse(found.json.choices[0]?.message.content ?? "")).toEqual({ age: expect.any(Number) as unknown });
  expect(found.completed.choices[0]?.text).toContain(" time");
});

test("the openai client sees errors and stops as a server's", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine, OpenAI } = window.testing;
    const client = new OpenAI({ baseURL: "http://tandem/v1", apiKey: "none", fetch: engine.fetch, dangerouslyAllowBrowser: true });
    const model = engine.capabilities.model;
    const messages = [{ role: "user" as const, content: "Tell me a long story." }];
    const errors = [];
    for (const wrong of [
      () => client.chat.completions.create({ model, messages, temprature: 1 } as never),
      () => client.chat.completions.create({ model: "gpt-9", messages }),
      () => client.chat.completions.create({ model, messages, stream: true, top_p: 3 }),
      () => client.embeddings.create({ model, input: "a" }),
      () => client.models.retrieve("gpt-9"),
    ]) {
      const error: unknown = await wrong().then(() => "accepted", (error: unknown) => error);
      if (!(error instanceof OpenAI.APIError)) throw new Error(String(error));
      errors.push([error.constructor === OpenAI.BadRequestError, error.status, error.code, error.param, error.type]);
    }
    const bad = await engine.fetch("http://tandem/v1/chat/completions", { method: "POST", body: "{" });
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ model, messages, stream: true, max_tokens: 500, logit_bias: { 2: -100 } }, { signal: controller.signal });
    let n_pieces = 0;
    for await (const _ of stream) if (++n_pieces === 4) controller.abort();
    const pending = new AbortController();
    const whole = client.chat.completions.create({ model, messages, max_tokens: 500, logit_bias: { 2: -100 } }, { signal: pending.signal });
    setTimeout(() => pending.abort(), 50);
    const aborted: unknown = await whole.catch((error: unknown) => error);
    const after = await client.chat.completions.create({ model, messages, max_tokens: 2 });
    return {
      errors,
      bad: [bad.status, await bad.json()],
      n_pieces,
      aborted: aborted instanceof OpenAI.APIUserAbortError,
      after: after.usage?.completion_tokens,
    };
  });
  const invalid = "invalid_request_error";
  expect(found.errors).toEqual([
    [true, 400, "request_invalid", "temprature", invalid],
    [false, 404, "request_invalid", "model", invalid],
    [true, 400, "request_invalid", "top_p", invalid],
    [false, 404, "request_invalid", null, invalid],
    [false, 404, "request_invalid", "model", invalid],
  ]);
  expect(found.bad).toEqual([400, { error: expect.objectContaining({ code: "request_invalid", param: "request" }) as unknown }]);
  expect(found.n_pieces).toBeLessThan(50);
  expect(found.aborted).toBe(true);
  expect(found.after).toBe(2);
});

test("the AI SDK's OpenAI-compatible provider generates, streams, calls tools and keeps to schemas", async ({ page }) => {
  await openLibrary(page);
  const found = await page.evaluate(async () => {
    const { engine, ai } = window.testing;
    const provider = ai.createOpenAICompatible({
      name: "tandem",
      baseURL: "http://tandem/v1",
      fetch: engine.fetch,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
    const model = provider("tandem");
    const whole = await ai.generateText({ model, prompt: "Tell me a story.", maxOutputTokens: 30, seed: 5 });
    const streamed = ai.streamText({ model, prompt: "Tell me a story.", maxOutputTokens: 30, seed: 5 });
    let text = "";
    for await (const piece of streamed.textStream) text += piece;
    const city = ai.jsonSchema<{ city: string }>({
      type: "object",
      properties: { city: { type: "string", maxLength: 30 } },
      required: ["city"],
      additionalProperties: false,
    });
    const weather = ai.tool({ description: "Weather now", inputSchema: city, execute: ({ city }) => `Rain in ${city}` });
    // Where chance decides, a model may think for longer than it has tokens.
    const surely = { model, temperature: 0 };
    const called = await ai.generateText({
      ...surely,
      prompt: "What is the weather in Oslo?",
      tools: { weather },
      toolChoice: "required",
      maxOutputTokens: 300,
      stopWhen: ai.isStepCount(1),
    });
    const tools = ai.streamText({ ...surely, prompt: "What is the weather in Oslo?", tools: { weather }, toolChoice: { type: "tool", toolName: "weather" }, maxOutputTokens: 300 });
    const streamedCalls = (await tools.toolCalls).map(({ toolName }) => toolName);
    const object = await ai.generateText({ ...surely, prompt: "Where is Ann?", output: ai.Output.object({ schema: city }), maxOutputTokens: 200 });
    const controller = new AbortController();
    const stopping = ai.generateText({ model, prompt: "Tell me a long story.", maxOutputTokens: 500, abortSignal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    const aborted = await stopping.then(() => "ended", (error: unknown) => (error as Error).name);
    const wrong: unknown = await ai.generateText({ model: provider("gpt-9"), prompt: "hi", maxRetries: 0 }).catch((error: unknown) => error);
    return {
      text,
      whole: whole.text,
      usage: (await streamed.usage).outputTokens,
      results: called.toolResults.map(({ output }) => output),
      streamedCalls,
      object: object.output,
      aborted,
      status: (wrong as { statusCode?: number }).statusCode,
      message: String(wrong),
    };
  });
  expect(found.text).toBe(found.whole);
  expect(found.usage).toBeGreaterThan(0);
  expect(found.results.join()).toContain("Rain in ");
  expect(found.streamedCalls[0]).toBe("weather");
  expect(found.object).toEqual({ city: expect.any(String) as unknown });
  expect(found.aborted).toBe("AbortError");
  expect(found.status).toBe(404);
  expect(found.message).toContain("is not here");
});
