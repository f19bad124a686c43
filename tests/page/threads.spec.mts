/** The engine on several threads: the page that `cargo xtask serve` serves is isolated. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtWithThreads, expect, openLibrary, serveFolder, SITE, test, type Page } from "../../www/page-testing.ts";

test.skip(!builtWithThreads(), "threads: the engine was built without (TANDEM_THREADS=1 cargo xtask test --page)");

const MESSAGES = [{ role: "user", content: "Tell me a story about a dog." }] as const;

/** What the engine of the page at hand says on so many threads (the most, where not given). */
async function replies(page: Page, threads?: number) {
  return page.evaluate(
    async ({ messages, threads }) => {
      const { Tandem } = window.testing;
      const engine = await Tandem.load({ device: "cpu", contextTokens: 1024, ...(threads ? { threads } : {}) });
      const create = engine.chat.completions;
      const body = { messages, max_tokens: 60, seed: 7, logprobs: true, top_logprobs: 3 } as const;
      const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false };
      const long = "The dog sat by the door and waited for the rain to end. ".repeat(20);
      const told = {
        // Numbers to the last bit: logprobs of what is drawn, and of a text read in one go.
        story: (await create.create(body)).choices,
        plain: (await create.create({ ...body, speculation: { mode: "off" } })).choices,
        json: (await create.create({ messages, seed: 7, max_tokens: 60, response_format: { type: "json_schema", json_schema: { schema } } })).choices,
        score: await engine.score(long),
      };
      // Who proposed a token hangs on what passes were seen to cost: on the clock, not on the words.
      const timeless = JSON.stringify(told, (key, value: unknown) => (key === "source" ? undefined : value));
      const seen = { threads: engine.capabilities.threads, told: JSON.parse(timeless) as typeof told };
      engine.dispose();
      return seen;
    },
    { messages: MESSAGES, threads },
  );
}

/** The threads that an engine takes where nobody says how many. */
async function usual(page: Page): Promise<number> {
  const n = await page.evaluate(() => navigator.hardwareConcurrency);
  return Math.min(n <= 4 ? n : Math.max(4, n >> 1), 8);
}

async function openBare(page: Page, url = ""): Promise<void> {
  await page.goto(`${url}testing/?bare`);
  await page.waitForFunction(() => "testing" in window, undefined, { timeout: 120_000 });
}

test("an isolated page computes on several threads, to the same bits", async ({ page }) => {
  await openBare(page);
  const n = await usual(page);
  test.skip(n < 2, "threads: this machine has one core");
  const many = await replies(page);
  const one = await replies(page, 1);
  const two = await replies(page, 2);
  expect([many.threads, two.threads, one.threads]).toEqual([n, 2, 1]);
  expect(many.told).toEqual(one.told);
  expect(two.told).toEqual(one.told);
  expect(one.told.story).not.toEqual([]);
  // And a page that is not isolated computes all the same.
  const plain = await serveFolder(SITE);
  try {
    await openBare(page, plain.url);
    const alone = await replies(page);
    expect(alone.threads).toBe(1);
    expect(alone.told).toEqual(one.told);
  } finally {
    plain.stop();
  }
});

test("threads that do not start are done without", async ({ page }) => {
  // Each worker's script is sent once: to the engine, and to no thread.
  const sent = new Set<string>();
  const server = await serveFolder(SITE, true, (path) => {
    if (!/worker-[^/]*\.js$/.test(path)) return true;
    const first = !sent.has(path);
    sent.add(path);
    return first;
  });
  try {
    await openBare(page, server.url);
    const { threads, told } = await replies(page);
    expect(sent.size).toBeGreaterThan(0);
    expect(threads).toBe(1);
    expect(told.story[0]?.message.content).toMatch(/\w+ \w+/);
  } finally {
    server.stop();
  }
});

test("a thread that fails is an error with its reason, and the engine loads again", async ({ page, complaints }) => {
  await openLibrary(page);
  const worker = page.workers()[0];
  if (!worker) throw new Error("the engine has no worker");
  await worker.evaluate(() => {
    self.dispatchEvent(new MessageEvent("message", { data: { id: -1, call: "crash", request: "thread" } }));
  });
  const closed = await page.evaluate(async () => {
    const { code, message } = await window.testing.engine.closed;
    return { code, message };
  });
  expect(closed.code).toBe("internal");
  expect(closed.message).toContain("crashed on request, on a thread");
  complaints.length = 0; // the hook logs where it panicked
  expect((await replies(page)).told.story[0]?.message.content).toMatch(/\w+ \w+/);
});

test("models that are loaded one after the other find their threads, and leave none behind", async ({ page }) => {
  await openBare(page);
  const n = await usual(page);
  const load = (n_engines: number) =>
    page.evaluate(async (n_engines) => {
      const seen: number[] = [];
      for (let turn = 0; turn < n_engines; turn += 1) {
        const engine = await window.testing.Tandem.load({ device: "cpu", contextTokens: 128 });
        seen.push(engine.capabilities.threads);
        await engine.completions.create({ prompt: "A dog", max_tokens: 3 });
        // In the midst of a reply, too.
        void engine.completions.create({ prompt: "A dog", max_tokens: 100 }).catch(() => undefined);
        engine.dispose();
      }
      return seen;
    }, n_engines);
  expect(await load(3)).toEqual([n, n, n]);
  test.skip(!existsSync("/proc/self/task"), "threads: no /proc to count them in");
  await expect.poll(() => workerThreads(process.pid)).toBe(0);
});

/** How many threads of workers there are in the processes that descend from this one. */
function workerThreads(root: number): number {
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return ""; // it has ended meanwhile
    }
  };
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const parent = /\) \w (\d+)/.exec(read(`/proc/${name}/stat`))?.[1];
    if (parent !== undefined) parents.set(Number(name), Number(parent));
  }
  const descends = (pid: number | undefined): boolean => pid !== undefined && (pid === root || descends(parents.get(pid)));
  let n_threads = 0;
  for (const pid of [...parents.keys()].filter(descends)) {
    const tasks = existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : [];
    n_threads += tasks.filter((task) => read(`/proc/${pid}/task/${task}/comm`).startsWith("DedicatedWorker")).length;
  }
  return n_threads;
}
