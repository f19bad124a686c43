/**
 * The engine's thread: hosts the wasm module and answers the page's calls, one
 * after the other.
 */
import { TandemError, toPlain } from "./errors.ts";
import type { CallName, Calls, FromWorker, ToWorker } from "./protocol.ts";
import init, { crash, Engine, on_panic } from "./wasm/tandem.js";

type Handler<N extends CallName> = (
  request: Calls[N]["request"],
  tell: (event: Calls[N]["event"]) => void,
  signal: AbortSignal,
) => Promise<Calls[N]["reply"]>;

let engine: Engine | undefined;

const handlers: { [N in CallName]: Handler<N> } = {
  async load({ target, draft, device }, tell) {
    await ready;
    engine?.free();
    engine = undefined;
    engine = await Engine.load(target, draft, device, tell);
    return engine.info();
  },

  async generate({ prompt, sampling }, tell, signal) {
    if (!engine) throw new TandemError("request_invalid", "no model is loaded");
    return await engine.generate(prompt, sampling, async (text) => {
      if (text) tell(text);
      // Between tokens the thread reads its messages: that is how a stop arrives.
      await nextTask();
      return !signal.aborted;
    });
  },

  async crash() {
    await ready;
    crash();
    return null;
  },
};

function post(message: FromWorker): void {
  self.postMessage(message);
}

const ready = init({ module_or_path: new URL("./wasm/tandem_bg.wasm", import.meta.url) }).then(() => {
  on_panic((message: string) => post({ fatal: { code: "internal", message } }));
});
// Whoever awaits it hears of a failure; until then it is not unhandled.
ready.catch(() => undefined);

/** A trap has no caller to go to when it happens inside a promise of Rust's. */
function fatal(thrown: unknown): void {
  post({ fatal: toPlain(thrown) });
}
self.addEventListener("error", (event) => fatal(event.error ?? event.message));
self.addEventListener("unhandledrejection", (event) => fatal(event.reason));

/** Resolves in a new task, after the messages that have arrived; `setTimeout` would
 * be held back to 4 ms. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
    channel.port2.postMessage(null);
  });
}
let wake: () => void = () => undefined;
const channel = new MessageChannel();
channel.port1.onmessage = () => wake();

const running = new Map<number, AbortController>();
let last: Promise<void> = Promise.resolve();

async function answer<N extends CallName>(
  { id, call, request }: { id: number; call: N; request: Calls[N]["request"] },
  { signal }: AbortController,
): Promise<void> {
  try {
    if (signal.aborted) throw new TandemError("aborted", "stopped before it began");
    post({ id, reply: await handlers[call](request, (event) => post({ id, event }), signal) });
  } catch (thrown) {
    post({ id, error: toPlain(thrown) });
    // A trap leaves the instance in an unknown state.
    if (thrown instanceof WebAssembly.RuntimeError) fatal(thrown);
  } finally {
    running.delete(id);
  }
}

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if ("abort" in data) {
    running.get(data.id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(data.id, controller);
  last = last.then(() => answer(data, controller));
};
