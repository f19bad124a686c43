/** `Tandem.connect`, against servers that behave as real ones do. No browser is needed. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, OpenAI, test as base } from "../../www/page-testing.ts";
import { Tandem, TandemError } from "../../www/lib/index.ts";

type Body = Record<string, unknown>;
type Handler = (request: IncomingMessage, response: ServerResponse, body: Body) => void;

interface Fixture {
  url: string;
  /** What came, in order: path, and what was in it. */
  seen: { path: string; body: Body; authorization: string | undefined }[];
  /** Answers `POST`s. */
  answer: Handler;
}

const MODELS = { object: "list", data: [{ id: "big", meta: { n_params: 7e9, n_ctx_train: 8192 } }, { id: "small", max_model_len: 4096 }] };

const test = base.extend<{ server: Fixture }>({
  // Playwright wants a pattern here.
  // eslint-disable-next-line no-empty-pattern
  server: async ({}, use) => {
    const fixture: Fixture = { url: "", seen: [], answer: (_, response) => response.writeHead(500).end() };
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (piece: Buffer) => (text += piece.toString()));
      request.on("end", () => {
        const body = (text === "" ? {} : JSON.parse(text)) as Body;
        fixture.seen.push({ path: request.url ?? "", body, authorization: request.headers.authorization });
        if (request.method === "GET") json(response, MODELS);
        else fixture.answer(request, response, body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    fixture.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await use(fixture);
    server.closeAllConnections();
    server.close();
  },
});

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** Sends events in pieces that break wherever they break. */
function events(response: ServerResponse, pieces: unknown[], end = "data: [DONE]\r\n\r\n", chunk_bytes = 7): void {
  const text = pieces.map((piece) => `: ping\r\ndata: ${JSON.stringify(piece)}\r\n\r\n`).join("") + end;
  const bytes = Buffer.from(text);
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (let at = 0; at < bytes.length; at += chunk_bytes) response.write(bytes.subarray(at, at + chunk_bytes));
  response.end();
}

const messages = [{ role: "user", content: "hi" }] as const;

function chunk(delta: Body, finish_reason: string | null = null) {
  return { id: "c1", object: "chat.completion.chunk", created: 5, model: "big", choices: [{ index: 0, delta, finish_reason }] };
}

const USAGE = { id: "c1", created: 5, model: "big", choices: [], usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } };

async function thrown(promise: Promise<unknown>): Promise<TandemError> {
  const error: unknown = await promise.then(
    () => new Error("it did not throw"),
    (error: unknown) => error,
  );
  if (!(error instanceof TandemError)) throw error as Error;
  return error;
}

test("a server's reply comes whole, in our shape", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url, apiKey: "sk-1" });
  expect(remote.capabilities).toMatchObject({ model: "big", n_parameters: 7e9, context_tokens: 8192 });
  server.answer = (_, response) =>
    json(response, {
      id: "c0",
      created: 5,
      model: "big",
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hello", reasoning: "hm" } }],
      usage: { prompt_tokens: 9, completion_tokens: 3 },
      timings: { prompt_per_second: 100, predicted_per_second: 20 },
    });
  const speculation = { mode: "off" } as const;
  const whole = await remote.chat.completions.create({ messages, model: "tandem", top_k: 5, speculation });
  expect(whole.choices[0]?.message).toEqual({ role: "assistant", content: "Hello", refusal: null, reasoning_content: "hm" });
  expect(whole.usage.total_tokens).toBe(12);
  expect(whole.timings).toEqual({ prefill_tokens_per_s: 100, decode_tokens_per_s: 20 });
  expect(server.seen.map(({ path }) => path)).toEqual(["/v1/models", "/v1/chat/completions"]);
  // Guessing is this library's own affair; the rest goes as it is.
  expect(server.seen[1]?.body).toEqual({ messages, model: "big", top_k: 5, stream: false });
  expect(server.seen.map(({ authorization }) => authorization)).toEqual(["Bearer sk-1", "Bearer sk-1"]);
  expect(await remote.stats()).toMatchObject({ requests: 1, decode_tokens_per_s: 20 });
});

test("a server's stream comes in pieces, and the whole of it at the end", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: `${server.url}/v1/`, model: "small" });
  const pieces = [chunk({ role: "assistant", content: "" }), chunk({ reasoning_content: "hm" }), chunk({ content: "Hé" }), chunk({ content: "llo 🌍" }, "stop"), USAGE];
  server.answer = (_, response) => events(response, pieces);
  const stream = await remote.chat.completions.create({ messages, stream: true });
  let text = "";
  let n = 0;
  for await (const piece of stream) {
    expect(piece.choices).toHaveLength(1);
    text += piece.choices[0]?.delta.content ?? "";
    n += 1;
  }
  expect([text, n]).toEqual(["Héllo 🌍", 4]);
  const whole = await stream.final();
  expect(whole.choices).toMatchObject([{ message: { content: "Héllo 🌍", reasoning_content: "hm" }, finish_reason: "stop" }]);
  expect(whole.usage).toMatchObject({ prompt_tokens: 9, completion_tokens: 3 });
  expect(server.seen[1]?.body).toMatchObject({ model: "small", stream: true, stream_options: { include_usage: true } });
  // A server that ends without [DONE] has ended all the same.
  server.answer = (_, response) => events(response, pieces, "", 1000);
  const again = await remote.chat.completions.create({ messages, stream: true, stream_options: { include_usage: true } });
  const all = [];
  for await (const piece of again) all.push(piece);
  expect(all.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
});

test("a server's tool calls are put together, numbered or not", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url });
  const call = (more: Body) => chunk({ tool_calls: [more] });
  server.answer = (_, response) =>
    events(response, [
      call({ index: 0, id: "a", type: "function", function: { name: "weather", arguments: "" } }),
      call({ index: 0, function: { arguments: '{"city":' } }),
      call({ index: 0, function: { arguments: '"Oslo"}' } }),
      // As some servers do: no number, arguments as an object.
      call({ id: "b", function: { name: "time", arguments: { zone: "CET" } } }),
      chunk({}, "tool_calls"),
      USAGE,
    ]);
  const stream = await remote.chat.completions.create({ messages, stream: true });
  const { choices } = await stream.final();
  expect(choices[0]?.finish_reason).toBe("tool_calls");
  expect(choices[0]?.message).toMatchObject({
    content: null,
    tool_calls: [
      { id: "a", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } },
      { id: "b", type: "function", function: { name: "time", arguments: '{"zone":"CET"}' } },
    ],
  });
});

test("texts are completed, whole and in pieces", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url });
  const piece = (text: string, finish_reason: string | null = null) => ({ id: "t", created: 1, model: "big", choices: [{ index: 0, text, finish_reason, logprobs: null }] });
  server.answer = (_, response, { stream }) => {
    if (stream === true) events(response, [piece(" a"), piece(" time", "length"), USAGE]);
    else json(response, { ...piece(" a time", "length"), usage: USAGE.usage });
  };
  const prompt = "Once upon";
  const whole = await remote.completions.create({ prompt, max_tokens: 2 });
  const stream = await remote.completions.create({ prompt, max_tokens: 2, stream: true });
  expect((await stream.final()).choices).toEqual(whole.choices);
  expect(server.seen[1]?.path).toBe("/v1/completions");
});

test("what a server refuses says so, and never says the key", async ({ server }) => {
  const key = "sk-secret-key";
  const remote = await Tandem.connect({ baseURL: server.url, apiKey: key });
  const create = () => thrown(remote.chat.completions.create({ messages }));
  const errors: [number, unknown, Body][] = [
    [400, { error: { message: "bad top_p", type: "invalid_request_error", param: "top_p", code: null } }, { code: "request_invalid", status: 400, param: "top_p" }],
    [400, { error: { message: "too long", code: "context_length_exceeded" } }, { code: "context_overflow", status: 400 }],
    [401, { error: { message: `Incorrect API key: ${key}` } }, { code: "remote_failed", status: 401, message: "Incorrect API key: ***" }],
    [429, { error: "slow down" }, { code: "remote_failed", status: 429, message: "slow down" }],
    [500, "<html>oops", { code: "remote_failed", status: 500 }],
    [200, "[1]", { code: "remote_failed", status: 502 }],
    [200, { error: { message: "no" } }, { code: "remote_failed", status: 502 }],
  ];
  for (const [status, body, expected] of errors) {
    server.answer = (_, response) => {
      if (typeof body === "string") response.writeHead(status).end(body);
      else json(response, body, status);
    };
    const error = await create();
    expect(error).toMatchObject(expected);
    expect(JSON.stringify([error, error.message, error.stack])).not.toContain(key);
  }
  // In the middle of a stream.
  server.answer = (_, response) => events(response, [chunk({ content: "a" }), { error: { message: "it broke", code: "boom" } }]);
  const stream = await remote.chat.completions.create({ messages, stream: true });
  expect(await thrown(stream.final())).toMatchObject({ code: "remote_failed", message: "it broke" });
  for (const end of ["data: {\n\n", "\n\n"]) {
    server.answer = (_, response) => events(response, [], end);
    expect(await thrown(remote.chat.completions.create({ messages, stream: true }))).toMatchObject({ code: "remote_failed" });
  }
  expect(await thrown(remote.tokenize("a"))).toMatchObject({ code: "request_invalid", status: 501 });
});

test("a server whose list of models is broken is used all the same where the model is named", async () => {
  // As `transformers serve` does where nothing was ever downloaded.
  const refusing = (status: number): typeof fetch => () => Promise.resolve(new Response("Internal Server Error", { status }));
  const baseURL = "http://127.0.0.1:1";
  for (const status of [404, 500]) {
    const remote = await Tandem.connect({ baseURL, model: "big", fetch: refusing(status) });
    expect(remote.capabilities.model).toBe("big");
    expect(await thrown(Tandem.connect({ baseURL, fetch: refusing(status) }))).toBeInstanceOf(TandemError);
  }
  expect(await thrown(Tandem.connect({ baseURL, model: "big", fetch: refusing(401) }))).toMatchObject({ status: 401 });
});

test("what a server cannot be asked for is said before it is asked", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url });
  server.answer = (_, response) => json(response, { choices: [{ index: 0, message: { role: "assistant", content: "yes" }, finish_reason: "stop" }] });
  for (const context_overflow of ["drop_oldest", { policy: "drop_oldest", pinned: [0] }] as const) {
    const error = await thrown(remote.chat.completions.create({ messages, context_overflow }));
    expect(error).toMatchObject({ code: "request_invalid", param: "context_overflow", status: 400 });
  }
  expect(server.seen.filter(({ path }) => path.endsWith("/completions"))).toHaveLength(0);
  for (const context_overflow of ["error", { policy: "error" }] as const) {
    await remote.chat.completions.create({ messages, context_overflow, speculation: { mode: "off" } });
    const { body } = server.seen.at(-1) ?? { body: {} };
    expect(Object.keys(body).sort()).toEqual(["messages", "model", "stream"]);
  }
});

test("a server that is not there, or has no such model, says so at once", async ({ server }) => {
  expect(await thrown(Tandem.connect({ baseURL: server.url, model: "gpt-9" }))).toMatchObject({ code: "request_invalid", param: "model", status: 404 });
  expect(await thrown(Tandem.connect({ baseURL: "http://127.0.0.1:1" }))).toMatchObject({ code: "remote_failed" });
  for (const baseURL of ["nowhere", "file:///v1", "http://me:secret@127.0.0.1"]) {
    expect(await thrown(Tandem.connect({ baseURL }))).toMatchObject({ code: "request_invalid", param: "baseURL" });
  }
});

test("a stop reaches the server, and a reader that pauses pauses it", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url });
  let n_sent = 0;
  let closed: Promise<void> | undefined;
  server.answer = (_, response) => {
    n_sent = 0;
    response.writeHead(200, { "content-type": "text/event-stream" });
    const timer = setInterval(() => {
      n_sent += 1;
      response.write(`data: ${JSON.stringify(chunk({ content: "word ".repeat(20_000) }))}\n\n`);
    }, 1);
    closed = new Promise((resolve) =>
      response.on("close", () => {
        clearInterval(timer);
        resolve();
      }),
    );
  };
  const controller = new AbortController();
  const stream = await remote.chat.completions.create({ messages, stream: true }, { signal: controller.signal });
  let n = 0;
  const reading = (async () => {
    for await (const _ of stream) if (++n === 3) controller.abort();
  })();
  expect(await thrown(reading)).toMatchObject({ code: "aborted" });
  await closed;
  // By leaving the loop.
  for await (const _ of await remote.chat.completions.create({ messages, stream: true })) break;
  await closed;
  // While nothing has come yet.
  server.answer = () => undefined;
  const waiting = new AbortController();
  setTimeout(() => waiting.abort(), 30);
  expect(await thrown(remote.chat.completions.create({ messages }, { signal: waiting.signal }))).toMatchObject({ code: "aborted" });
  const disposed = remote.chat.completions.create({ messages });
  setTimeout(() => remote.dispose(), 30);
  expect(await thrown(disposed)).toMatchObject({ code: "aborted" });
  expect(await remote.closed).toMatchObject({ code: "aborted" });
});

test("the openai client runs on a connection's fetch as on an engine's", async ({ server }) => {
  const remote = await Tandem.connect({ baseURL: server.url });
  server.answer = (_, response) => events(response, [chunk({ content: "He" }), chunk({ content: "llo" }, "stop"), USAGE]);
  const client = new OpenAI({ baseURL: "http://tandem/v1", apiKey: "none", fetch: remote.fetch });
  const found = await client.chat.completions.stream({ model: "big", messages: [{ role: "user", content: "hi" }] }).finalContent();
  expect(found).toBe("Hello");
});
