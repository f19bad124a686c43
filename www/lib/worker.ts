/**
 * The engine's thread: hosts the wasm module and answers the page's calls, one after the
 * other in the order they came.
 */
import { TandemError, toPlain } from "./errors.ts";
import { loadModels } from "./load.ts";
import type { AgentReply, AgentRequest, CallName, Calls, FromWorker, ToWorker } from "./protocol.ts";
import type { Files } from "./storage/files.ts";
import { beThread, startEngine, THREAD_NAME, type Started } from "./threads.ts";
import type { AgentRun, Engine } from "./wasm/tandem.js";

/** Events that may be under way to a page that has not taken them: enough to keep the
 * engine busy, few enough that a reader who stops stops the engine. */
const MAX_UNTAKEN_EVENTS = 32;

/** A call that waits for its turn, or has it. */
interface Job<N extends CallName = CallName> {
  id: number;
  call: N;
  request: Calls[N]["request"];
  events: boolean;
  aborted: boolean;
  stopped: AbortController;
  /** Events told and not taken. */
  untaken: number;
  /** Lets a job go on that waits for its events to be taken. */
  wake: () => void;
}

type Handler<N extends CallName> = (
  request: Calls[N]["request"],
  job: Job,
) => Calls[N]["reply"] | Promise<Calls[N]["reply"]>;

let engine: Engine | undefined;
/** What the engine reads its weights from, again where its device was lost. */
let files: Files | undefined;
let ready: Promise<Started> | undefined;

/** Starts the wasm module, once: the first call decides with which device. */
function start(wish: Parameters<typeof startEngine>[0]): Promise<Started> {
  ready ??= startEngine(wish).then((started) => {
    started.glue.on_panic((message: string) => post({ fatal: { code: "internal", message } }));
    return started;
  });
  return ready;
}

function loaded(): Engine {
  if (!engine) throw new TandemError("request_invalid", "no model is loaded", { status: 400 });
  return engine;
}

const handlers: { [N in CallName]: Handler<N> } = {
  async load(request, job) {
    const started = await start(request);
    engine?.free();
    engine = undefined;
    files?.close();
    const signal = job.stopped.signal;
    ({ engine, files } = await loadModels(started, request, signal, (progress) => tell(job, progress)));
    return engine.capabilities();
  },
  chat: (request, job) => loaded().chat(request, (pieces) => pass(job, pieces)),
  complete: (request, job) => loaded().complete(request, (pieces) => pass(job, pieces)),
  score: (request) => loaded().score(request),
  classify: (request) => loaded().classify(request),
  tokenize: (request) => loaded().tokenize(request),
  detokenize: (request) => loaded().detokenize(request),
  stats: () => loaded().stats(),
  agent,
  async crash(where) {
    const { glue, startThreads } = await start({});
    if (where === "thread" && startThreads) {
      // One more than the loaded models can have.
      await startThreads(3);
      glue.crash_on_thread();
    }
    glue.crash();
    return null;
  },
};

const runs = new Map<number, AgentRun>();
let n_runs = 0;

async function agent(request: AgentRequest): Promise<AgentReply> {
  if ("begin" in request || "replay" in request) {
    const { AgentRun } = (await start(request)).glue;
    const made = "begin" in request ? new AgentRun(request.begin) : AgentRun.replay(request.replay);
    const run = n_runs++;
    runs.set(run, made);
    return { run, text: made.pending() };
  }
  const { run } = request;
  const known = runs.get(run);
  if (!known) throw new TandemError("request_invalid", `there is no run ${run}`, { status: 400 });
  if ("end" in request) {
    runs.delete(run);
    known.free();
    return { run, text: "" };
  }
  return { run, text: "event" in request ? known.handle(request.at_ms, request.event) : known.transcript() };
}

function post(message: FromWorker): void {
  self.postMessage(message);
}

function tell(job: Job, event: Calls[CallName]["event"]): void {
  if (job.events) post({ id: job.id, event });
}

/** Passes pieces of a reply on, and says whether to go on with it. Between steps the
 * thread reads its messages: that is how a stop arrives. */
async function pass(job: Job, pieces: Calls[CallName]["event"][]): Promise<boolean> {
  if (job.events) {
    for (const piece of pieces) tell(job, piece);
    job.untaken += pieces.length;
  }
  await nextTask();
  while (job.untaken > MAX_UNTAKEN_EVENTS && !job.aborted) {
    await new Promise<void>((resolve) => (job.wake = resolve));
  }
  return !job.aborted;
}

/** A trap has no caller to go to when it happens inside a promise of Rust's. */
function fatal(thrown: unknown): void {
  post({ fatal: toPlain(thrown) });
}

/** Resolves in a new task, after the messages that have arrived; `setTimeout` would
 * be held back to 4 ms. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    wakeTask = resolve;
    channel.port2.postMessage(null);
  });
}
let wakeTask: () => void = () => undefined;
const channel = new MessageChannel();
channel.port1.onmessage = () => wakeTask();

const waiting: Job[] = [];
let running: Job | undefined;

async function run(): Promise<void> {
  if (running) return;
  while ((running = waiting.shift())) await answer(running);
}

async function answer<N extends CallName>(job: Job<N>): Promise<void> {
  try {
    post({ id: job.id, reply: await handlers[job.call](job.request, job) });
  } catch (thrown) {
    post({ id: job.id, error: toPlain(thrown) });
    // A trap leaves the instance in an unknown state.
    if (thrown instanceof WebAssembly.RuntimeError) fatal(thrown);
  }
}

function abort(id: number): void {
  const at = waiting.findIndex((job) => job.id === id);
  if (at >= 0) {
    // It need not wait for its turn to be told.
    waiting.splice(at, 1);
    post({ id, error: toPlain(new TandemError("aborted", "stopped before it began")) });
  } else if (running?.id === id) {
    running.aborted = true;
    running.stopped.abort();
    running.wake();
  }
}

function receive({ data }: MessageEvent<ToWorker>): void {
  if ("abort" in data) abort(data.id);
  else if ("taken" in data) {
    if (running?.id !== data.id) return;
    running.untaken -= data.taken;
    running.wake();
  } else if (data.call === "agent") {
    // It needs no model, and a tool's request is not to wait for somebody's reply.
    void answer({ ...data, aborted: false, stopped: new AbortController(), untaken: 0, wake: () => undefined });
  } else {
    waiting.push({ ...data, aborted: false, stopped: new AbortController(), untaken: 0, wake: () => undefined });
    void run();
  }
}

if (self.name === THREAD_NAME) beThread();
else {
  self.addEventListener("error", (event) => fatal(event.error ?? event.message));
  self.addEventListener("unhandledrejection", (event) => fatal(event.reason));
  self.onmessage = receive;
}
