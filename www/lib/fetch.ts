/** `engine.fetch`: OpenAI's HTTP interface without a network. */
import type { RawCreate, Tandem } from "./engine.ts";
import { TandemError } from "./errors.ts";
import { Stream } from "./stream.ts";

const ROUTES = [
  { path: /\/chat\/completions$/, method: "POST", call: "chat" },
  { path: /\/completions$/, method: "POST", call: "complete" },
  { path: /\/models$/, method: "GET", call: "models" },
  { path: /\/models\/(?<model>.+)$/, method: "GET", call: "model" },
] as const;

/** Answers a request. Rejects as `fetch` does where the request's signal stops it. */
export async function answerFetch(engine: Tandem, create: RawCreate, request: Request): Promise<Response> {
  try {
    return await route(engine, create, request);
  } catch (thrown) {
    if (request.signal.aborted) throw request.signal.reason;
    return failed(thrown);
  }
}

async function route(engine: Tandem, create: RawCreate, request: Request): Promise<Response> {
  const path = new URL(request.url).pathname.replace(/\/+$/, "");
  const found = ROUTES.find((route) => route.path.test(path));
  if (!found) throw refused(404, `there is no ${path} here`);
  if (request.method !== found.method) throw refused(405, `${path} takes ${found.method}, not ${request.method}`);
  switch (found.call) {
    case "models":
      return json({ object: "list", data: [model(engine)] });
    case "model": {
      const asked = decodeURIComponent(found.path.exec(path)?.groups?.["model"] ?? "");
      const { id } = model(engine);
      if (asked !== id && asked !== "tandem") throw refused(404, `${asked} is not here; ${id} is`, "model");
      return json(model(engine));
    }
    default: {
      const body = await request.text();
      const reply = await create(found.call, body, wantsStream(body), request.signal);
      return reply instanceof Stream ? events(reply, request.signal) : json(reply);
    }
  }
}

/** Whether a body asks for a stream; what else it says is the engine's to read. */
function wantsStream(body: string): boolean {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null && "stream" in parsed && parsed.stream === true;
  } catch {
    return false; // the engine says what is wrong with it
  }
}

function model(engine: Tandem) {
  return { id: engine.capabilities.model, object: "model", created: 0, owned_by: "tandem" };
}

function refused(status: number, message: string, param: string | null = null): TandemError {
  return new TandemError("request_invalid", message, { status, type: "invalid_request_error", param });
}

function errorBody(thrown: unknown) {
  const known = thrown instanceof TandemError;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const { type, param, code } = known ? thrown : new TandemError("internal", message);
  return { error: { message, type, param, code } };
}

function failed(thrown: unknown): Response {
  return json(errorBody(thrown), thrown instanceof TandemError ? thrown.status : 500);
}

function json(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

/** A stream as server-sent events, made as they are read. */
function events<P, W>(stream: Stream<P, W>, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  const pieces = stream[Symbol.asyncIterator]();
  const event = (data: string) => encoder.encode(`data: ${data}\n\n`);
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await pieces.next();
          if (!next.done) {
            controller.enqueue(event(JSON.stringify(next.value)));
            return;
          }
          controller.enqueue(event("[DONE]"));
        } catch (thrown) {
          if (signal.aborted) {
            controller.error(signal.reason);
            return;
          }
          // The status is long sent: an error goes where a piece would.
          controller.enqueue(event(JSON.stringify(errorBody(thrown))));
        }
        controller.close();
      },
      cancel() {
        stream.abort();
      },
    },
    // Nothing is made ahead of the reader but what the engine itself buffers.
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
  });
}
