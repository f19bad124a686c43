/**
 * Where tools run and requests are made: frames of opaque origin, one for each call and
 * each request, taken down when it is over. Nothing is kept between them.
 */
import type { AllowedFetch, FetchedText, Sandbox, ToolContext } from "../lib/agent.ts";
import { TOOL_DOCUMENT } from "./document.ts";
import { HARNESS } from "./harness.ts";

/** A tool's longest message to the page, in characters of JSON. */
const MAX_MESSAGE_CHARS = 4 << 20;

/** A frame says that it is there before it counts as loaded; how much later that may be heard. */
const GRACE_MS = 3_000;

/** What a tool's worker says. */
type FromTool =
  | { value: unknown }
  | { failed: string }
  | { id: number; request: string; slots?: Record<string, unknown>; more?: { headers?: Record<string, string>; body?: string } };

/** What is in a frame, and what is wrong where it does not come. */
interface Content {
  fill: (frame: HTMLIFrameElement) => void;
  missing: string;
}

const TOOL: Content = {
  fill: (frame) => (frame.srcdoc = TOOL_DOCUMENT),
  missing: "the policy of this page lets no tool run",
};

/** No worker of the page's may answer for a frame of another origin: it has to come from
 * the server. */
const broker = (url: URL): Content => ({
  fill: (frame) => (frame.src = url.href),
  missing: "the server that this page came from cannot be reached, and requests need it",
});

/** Makes a sandbox whose broker lies under `base` (`sandbox/` beside the page). */
export function createSandbox(base: string | URL = new URL("sandbox/", document.baseURI)): Sandbox {
  return {
    run: runTool,
    fetch: (fetch, signal) => request(new URL("broker.html", base), fetch, signal),
  };
}

/** Opens a frame, gives it one message and one port, and takes it down when `use` is
 * done or `signal` says so. */
async function withFrame<T>(
  content: Content,
  message: object,
  signal: AbortSignal,
  use: (port: MessagePort, failed: Promise<never>) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.setAttribute("referrerpolicy", "no-referrer");
  frame.setAttribute("allow", "");
  frame.hidden = true;
  content.fill(frame);
  const { port1, port2 } = new MessageChannel();
  let onMessage: (event: MessageEvent) => void = () => undefined;
  let grace: ReturnType<typeof setTimeout> | undefined;
  let onReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => (onReady = resolve));
  const failed = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("stopped")), { once: true });
    onMessage = ({ source, data }: MessageEvent) => {
      // The origin of a sandboxed frame is "null", as of any other: the window is what tells.
      if (source !== frame.contentWindow) return;
      const { failed, ready } = (data ?? {}) as { failed?: unknown; ready?: unknown };
      if (ready === true) onReady();
      else if (typeof failed === "string") reject(new Error(failed.slice(0, 500)));
    };
    // Whatever a browser shows in the place of what it could not fetch loads too.
    frame.onload = () => (grace = setTimeout(() => reject(new Error(content.missing)), GRACE_MS));
  });
  failed.catch(() => undefined);
  addEventListener("message", onMessage);
  try {
    document.body.append(frame);
    await Promise.race([ready, failed]);
    frame.onload = null;
    clearTimeout(grace);
    frame.contentWindow?.postMessage(message, "*", [port2]);
    return await Promise.race([use(port1, failed), failed]);
  } finally {
    removeEventListener("message", onMessage);
    port1.close();
    frame.remove();
  }
}

function runTool(code: string, args: Record<string, unknown>, ctx: ToolContext): Promise<unknown> {
  return withFrame(TOOL, { harness: HARNESS, code, args }, ctx.signal, (port) => {
    return new Promise((resolve, reject) => {
      port.onmessage = ({ data }: MessageEvent<unknown>) => {
        let message: FromTool;
        try {
          // Plain JSON and nothing else crosses: no ports, no buffers, no getters.
          const text = JSON.stringify(data);
          if (text.length > MAX_MESSAGE_CHARS) throw new Error("the tool says too much");
          message = JSON.parse(text) as FromTool;
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        if ("value" in message) {
          resolve(message.value);
          return;
        }
        if ("failed" in message) {
          reject(new Error(message.failed.slice(0, 500)));
          return;
        }
        const { id } = message;
        ctx.fetch(message.request, message.slots, message.more).then(
          (response) => port.postMessage({ id, response }),
          (error: unknown) => port.postMessage({ id, refused: error instanceof Error ? error.message : String(error) }),
        );
      };
    });
  });
}

function request(url: URL, fetch: AllowedFetch, signal: AbortSignal): Promise<FetchedText> {
  return withFrame(broker(url), fetch, signal, (port) => {
    return new Promise((resolve, reject) => {
      port.onmessage = ({ data }: MessageEvent<{ answer?: FetchedText; failed?: string }>) => {
        if (data.answer) resolve(data.answer);
        else reject(new Error(data.failed ?? "unreachable"));
      };
    });
  });
}
