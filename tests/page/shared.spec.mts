/** One engine for the tabs of a site. */
import { expect, test, type Page } from "../../www/page-testing.ts";

type BrowserContext = ReturnType<Page["context"]>;

/** A tab, with the library and nothing loaded. */
async function open(context: BrowserContext): Promise<Page> {
  const page = await context.newPage();
  await page.goto("testing/?bare");
  await page.waitForFunction(() => "testing" in window);
  return page;
}

/** Loads the pair that ships, for this tab and others; answers with who asks for what. */
function load(page: Page, options: Record<string, unknown> = {}): Promise<string> {
  return page.evaluate(async (options) => {
    const { testing } = window;
    try {
      testing.engine = await testing.Tandem.load({ device: "cpu", contextTokens: 512, shared: true, ...options });
      return testing.engine.capabilities.model;
    } catch (error) {
      return (error as { code: string }).code;
    }
  }, options);
}

/** A story of this many tokens; how long it was, or the code of what went wrong. */
function tell(page: Page, max_tokens = 30): Promise<string> {
  return page.evaluate(async (max_tokens) => {
    const { engine, TandemError } = window.testing;
    try {
      const stream = await engine.completions.create({ prompt: "Once upon a time", max_tokens, ignore_eos: true, seed: 5, stream: true });
      let text = "";
      for await (const piece of stream) text += piece.choices[0]?.text ?? "";
      return text;
    } catch (error) {
      return error instanceof TandemError ? error.code : String(error);
    }
  }, max_tokens);
}

/** Begins a long story; `ended` tells how it ended. */
async function begin(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const { engine } = window.testing;
    const told = window as unknown as { n_pieces: number; ended: Promise<string>; stop: AbortController };
    told.stop = new AbortController();
    const body = { prompt: "Once upon a time", max_tokens: 450, ignore_eos: true, stream: true } as const;
    const stream = await engine.completions.create(body, { signal: told.stop.signal });
    told.n_pieces = 0;
    told.ended = (async () => {
      try {
        for await (const piece of stream) told.n_pieces += piece.choices.length;
        return "whole";
      } catch (error) {
        return (error as { code: string }).code;
      }
    })();
  });
  await page.waitForFunction(() => (window as unknown as { n_pieces: number }).n_pieces > 3);
}

const ended = (page: Page) => page.evaluate(() => (window as unknown as { ended: Promise<string> }).ended);

/** How many models there are in these tabs. */
const workers = (...pages: Page[]) => pages.map((page) => page.workers().length);

test("tabs that load the same have one model among them", async ({ context }) => {
  const pages = [await open(context), await open(context), await open(context)] as const;
  const asked: string[] = [];
  context.on("request", (request) => void (request.url().endsWith(".gguf") && asked.push(request.url())));
  const names = await Promise.all(pages.map((page) => load(page)));
  expect(new Set(names).size).toBe(1);
  expect(workers(...pages).toSorted()).toEqual([0, 0, 1]);
  // All at once: they queue, and each hears its own.
  const texts = await Promise.all(pages.map((page) => tell(page)));
  expect(texts[0]?.length).toBeGreaterThan(40);
  expect(new Set(texts).size).toBe(1);
  const stats = await pages[1].evaluate(async () => (await window.testing.engine.stats()).requests);
  expect(stats).toBe(3);
  // What is wrong with a request is said, wherever it was made.
  const errors = await Promise.all(
    pages.map((page) =>
      page.evaluate(() =>
        window.testing.engine.chat.completions
          .create({ messages: [{ role: "user", content: "hi" }], temprature: 1 } as never)
          .catch((error: unknown) => (error instanceof window.testing.TandemError ? [error.code, error.param, error.status] : error)),
      ),
    ),
  );
  for (const error of errors) expect(error).toEqual(["request_invalid", "temprature", 400]);
  expect(workers(...pages).toSorted()).toEqual([0, 0, 1]);
});

test("what is loaded otherwise is not shared, nor what nobody asked to share", async ({ context }) => {
  const [one, two, three] = [await open(context), await open(context), await open(context)];
  await load(one);
  await load(two, { contextTokens: 256 });
  await load(three, { shared: false });
  expect(workers(one, two, three)).toEqual([1, 1, 1]);
  const contexts = await Promise.all([one, two, three].map((page) => page.evaluate(() => window.testing.engine.capabilities.context_tokens)));
  expect(contexts).toEqual([512, 256, 512]);
});

test("without locks every tab has an engine of its own", async ({ context }) => {
  await context.addInitScript(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }));
  const [one, two] = [await open(context), await open(context)];
  await load(one);
  await load(two);
  expect(workers(one, two)).toEqual([1, 1]);
  expect((await tell(two)).length).toBeGreaterThan(40);
});

test("another tab's reply is stopped from there, waits for its reader, and ends with its tab", async ({ context }) => {
  const owner = await open(context);
  await owner.evaluate(() => {
    const counted = window as unknown as { n_sent: number };
    counted.n_sent = 0;
    const { postMessage } = BroadcastChannel.prototype;
    BroadcastChannel.prototype.postMessage = function (message: object) {
      if ("event" in message) counted.n_sent += 1;
      postMessage.call(this, message);
    };
  });
  const sent = () => owner.evaluate(() => (window as unknown as { n_sent: number }).n_sent);
  await load(owner);
  const guest = await open(context);
  await load(guest);
  expect(workers(owner, guest)).toEqual([1, 0]);
  // Nobody reads it: the engine does not run ahead.
  await guest.evaluate(async () => {
    const { engine } = window.testing;
    const stream = await engine.completions.create({ prompt: "Once", max_tokens: 300, ignore_eos: true, stream: true, speculation: { mode: "off" } });
    (window as unknown as { stream: unknown }).stream = stream;
  });
  await expect.poll(sent).toBeGreaterThan(30);
  await owner.waitForTimeout(1_000);
  expect(await sent()).toBeLessThan(60);
  // Read, it goes on to its end.
  const n_pieces = await guest.evaluate(async () => {
    let n = 0;
    for await (const piece of (window as unknown as { stream: AsyncIterable<{ choices: unknown[] }> }).stream) n += piece.choices.length;
    return n;
  });
  expect(n_pieces).toBeGreaterThan(200);
  // Stopped from the tab that asked.
  await begin(guest);
  await guest.evaluate(() => (window as unknown as { stop: AbortController }).stop.abort());
  expect(await ended(guest)).toBe("aborted");
  // And while it waits behind another.
  await begin(owner);
  const waited = await guest.evaluate(() => {
    const stop = new AbortController();
    const waits = window.testing.engine.completions
      .create({ prompt: "x" }, { signal: stop.signal })
      .catch((error: unknown) => (error as { code: string }).code);
    stop.abort();
    return waits;
  });
  expect(waited).toBe("aborted");
  await owner.evaluate(() => (window as unknown as { stop: AbortController }).stop.abort());
  expect(await ended(owner)).toBe("aborted");
  // A tab that goes leaves nobody waiting for its reader.
  await guest.evaluate(async () => {
    await window.testing.engine.completions.create({ prompt: "Once", max_tokens: 450, ignore_eos: true, stream: true });
  });
  await guest.close();
  expect((await tell(owner)).length).toBeGreaterThan(40);
});

test("when the tab with the model is closed another loads it, and nothing hangs", async ({ context }) => {
  const [owner, second, third] = [await open(context), await open(context), await open(context)];
  await load(owner);
  await load(second);
  await load(third);
  expect(workers(owner, second, third)).toEqual([1, 0, 0]);
  await begin(second);
  // It waits behind the story and has told nothing: it is asked again.
  const waits = tell(third);
  await third.waitForTimeout(200);
  await owner.close();
  expect(await ended(second)).toBe("engine_moved");
  expect((await waits).length).toBeGreaterThan(40);
  expect(workers(second, third).toSorted()).toEqual([0, 1]);
  expect(await tell(second)).toBe(await waits);
});

test("a tab that lets go, and one whose load is stopped, leave the model to the others", async ({ context }) => {
  const [one, two] = [await open(context), await open(context)];
  // Stopped on the way: the other one, that waited for it, loads.
  await one.evaluate(() => {
    const stop = new AbortController();
    const { Tandem } = window.testing;
    const loading = Tandem.load({ device: "cpu", contextTokens: 512, shared: true, signal: stop.signal, onProgress: () => stop.abort() });
    (window as unknown as { stopped: Promise<string> }).stopped = loading.then(
      () => "loaded",
      (error: unknown) => (error as { code: string }).code,
    );
  });
  await load(two);
  expect(await one.evaluate(() => (window as unknown as { stopped: Promise<string> }).stopped)).toBe("aborted");
  expect(workers(one, two)).toEqual([0, 1]);
  await load(one);
  expect(workers(one, two)).toEqual([0, 1]);
  // Disposed of, in the middle of the other's reply.
  await begin(one);
  const why = await two.evaluate(async () => {
    window.testing.engine.dispose();
    return (await window.testing.engine.closed).code;
  });
  expect(why).toBe("aborted");
  expect(await ended(one)).toBe("engine_moved");
  expect((await tell(one)).length).toBeGreaterThan(40);
  expect(workers(one, two)).toEqual([1, 0]);
});

test("a model that cannot be loaded is an error in every tab", async ({ context }) => {
  const [one, two] = [await open(context), await open(context)];
  const target = new URL("nothing.gguf", one.url()).href;
  expect(await Promise.all([load(one, { target }), load(two, { target })])).toEqual(["file_missing", "file_missing"]);
  expect(workers(one, two)).toEqual([0, 0]);
});

test("a crash fails what was asked, everywhere, and is not asked again", async ({ context }) => {
  const [owner, guest] = [await open(context), await open(context)];
  await load(owner);
  await load(guest);
  // A crash that takes its turn, and a request behind it.
  await begin(guest);
  await owner.workers()[0]?.evaluate(() => {
    self.dispatchEvent(new MessageEvent("message", { data: { id: -1, call: "crash", request: null } }));
  });
  const waits = tell(guest);
  await guest.waitForTimeout(300);
  await guest.evaluate(() => (window as unknown as { stop: AbortController }).stop.abort());
  expect(await ended(guest)).toBe("aborted");
  expect(await waits).toBe("internal");
  expect(await owner.evaluate(async () => (await window.testing.engine.closed).code)).toBe("internal");
  // The other tab has the model now.
  expect((await tell(guest)).length).toBeGreaterThan(40);
  expect(workers(owner, guest)).toEqual([0, 1]);
});

test("a tab that answers nobody is not waited for", async ({ context }) => {
  const [owner, guest] = [await open(context), await open(context)];
  await load(owner);
  await load(guest);
  // As one that the browser has frozen: its worker is there, and nothing of its script runs.
  const shown = owner.waitForEvent("dialog");
  owner.on("dialog", () => undefined);
  await owner.evaluate(() => void setTimeout(() => alert("wait")));
  const dialog = await shown;
  const text = await tell(guest);
  expect(text.length).toBeGreaterThan(40);
  expect(workers(guest)).toEqual([1]);
  // Awake again, it asks the other one, and has no model of its own any more.
  await dialog.accept();
  expect(await tell(owner)).toBe(text);
  expect(workers(owner, guest)).toEqual([0, 1]);
});

test("agents run in a tab without the model", async ({ context }) => {
  const [owner, guest] = [await open(context), await open(context)];
  await load(owner, { contextTokens: 2048 });
  await load(guest, { contextTokens: 2048 });
  const result = await guest.evaluate(async () => {
    const { engine } = window.testing;
    return engine.agent.run({
      messages: [{ role: "user", content: "What is 12 * 12?" }],
      tools: [
        {
          name: "calculator",
          description: "Computes",
          parameters: { type: "object", properties: { expression: { type: "string" } }, required: ["expression"] },
          run: () => "144",
        } as never,
      ],
      request: { seed: 1, max_tokens: 60, temperature: 0 },
    });
  });
  expect(result.n_steps).toBeGreaterThan(0);
  expect(["answered", "steps", "tokens", "too_many_errors"]).toContain(result.ending);
  await expect.poll(() => workers(owner)).toEqual([1]);
});
