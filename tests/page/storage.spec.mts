/** Downloads from servers that cannot be trusted, by pages that go away. */
import { createHash } from "node:crypto";
import { expect, GOOD, HostileServer, test as base, shippedTarget, type Evil, type Page } from "../../www/page-testing.ts";
import { Sha256 } from "../../www/lib/storage/sha256.ts";
import { pickWeights } from "../../www/lib/storage/hub.ts";
import { placeOf } from "../../www/lib/storage/place.ts";

const RANGE_BYTES = 64 * 1024;

const test = base.extend<{ server: HostileServer }>({
  // Playwright wants a pattern here.
  // eslint-disable-next-line no-empty-pattern
  server: async ({}, use) => {
    const server = new HostileServer(shippedTarget());
    await server.start();
    await use(server);
    server.stop();
  },
});

/** What a load ends with. */
type End = { ok: true; text: string; last: Record<string, unknown> | undefined } | { ok: false; code: string; message: string };

async function open(page: Page, server: HostileServer): Promise<void> {
  await page.goto(`${server.url}testing/?bare`);
  await page.waitForFunction(() => "testing" in window);
}

/** So long is a stall, where there are stalls: elsewhere a busy machine is no reason to ask twice. */
const STALL_MS = 400;

/** Loads the file and asks it for a few words. */
function load(page: Page, options: Record<string, unknown> = {}, source: Record<string, unknown> = {}): Promise<End> {
  const tuned = { rangeBytes: RANGE_BYTES, stallMs: 20_000, backoffMs: 5, retries: 30, ...options };
  return page.evaluate(
    async ({ tuned, source }): Promise<End> => {
      const { Tandem, TandemError } = window.testing;
      let last: Record<string, unknown> | undefined;
      try {
        const engine = await Tandem.load({
          target: { url: new URL("/files/model.gguf", location.href), ...source },
          device: "cpu",
          contextTokens: 64,
          storage: tuned,
          onProgress: (progress) => (last = { ...progress, n: Number(last?.["n"] ?? 0) + 1 }),
        });
        const reply = await engine.completions.create({ prompt: "Once upon a", max_tokens: 4, temperature: 0 });
        engine.dispose();
        return { ok: true, text: reply.choices[0]?.text ?? "", last };
      } catch (error) {
        if (!(error instanceof TandemError)) throw error;
        return { ok: false, code: error.code, message: error.message };
      }
    },
    { tuned, source },
  );
}

/** SHA-256 of every file that is stored whole, read as anyone could. */
function stored(page: Page) {
  return page.evaluate(async () => {
    const files = await window.testing.Tandem.storage.list();
    const root = await navigator.storage.getDirectory();
    const store = await (await root.getDirectoryHandle("tandem")).getDirectoryHandle("files");
    return Promise.all(
      files.map(async (file) => {
        const folder = await store.getDirectoryHandle(file.id);
        const n_ranges = Math.ceil(file.size_bytes / (64 * 1024));
        const parts = [];
        for (let i = 0; file.complete && i < n_ranges; i += 1) parts.push(await (await folder.getFileHandle(String(i))).getFile());
        const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
        return { ...file, sha256: Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("") };
      }),
    );
  });
}

const hashOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

test("a model is downloaded once, found again, and noticed when it changed", async ({ page, server, complaints }) => {
  server.published = hashOf(server.bytes);
  await open(page, server);
  const first = await load(page);
  expect(first).toMatchObject({ ok: true, text: expect.stringContaining("time") as unknown, last: { stored: true } });
  expect(server.sent_bytes).toBe(server.bytes.length);
  expect(await stored(page)).toMatchObject([
    { complete: true, sha256: hashOf(server.bytes), id: `sha256-${hashOf(server.bytes)}`, url: `${server.url}files/model.gguf` },
  ]);
  // Again: one request, to see that it is still the same.
  [server.sent_bytes, server.requests] = [0, 0];
  expect(await load(page)).toMatchObject({ ok: true });
  expect([server.sent_bytes <= 1, server.requests]).toEqual([true, 1]);
  // A name of the file's changes no word of the model; its bytes do.
  const changed = Buffer.from(server.bytes);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  [server.bytes, server.etag, server.published] = [changed, '"two"', hashOf(changed)];
  expect(await load(page)).toMatchObject({ ok: true });
  // The old one is gone.
  expect(await stored(page)).toMatchObject([{ complete: true, sha256: hashOf(changed) }]);
  // Without a network it is there all the same.
  server.evil = { ...GOOD, refuse: 1 };
  expect(await load(page)).toMatchObject({ ok: true });
  complaints.length = 0;
  // And it can be removed.
  expect(await page.evaluate(async () => {
    const { storage } = window.testing.Tandem;
    const [file] = await storage.list();
    return [await storage.remove(file?.id ?? ""), (await storage.list()).length];
  })).toEqual([true, 0]);
});

test("twenty kills at random bytes lose no more than the ranges under way", async ({ page, server }) => {
  server.pace_ms = 4;
  const parallel = 2;
  let kills = 0;
  for (; kills < 20; kills += 1) {
    await open(page, server);
    const goal = server.sent_bytes + Math.floor(server.chance() * 2.5 * RANGE_BYTES);
    const loading = load(page, { parallel }).catch(() => undefined);
    await expect.poll(() => server.sent_bytes, { intervals: [3] }).toBeGreaterThan(goal);
    // Half of them lose their worker, half the page.
    const worker = page.workers()[0];
    if (kills % 2 === 0 && worker) await worker.evaluate(() => self.close()).catch(() => undefined);
    else await page.reload();
    void loading;
  }
  server.pace_ms = 0;
  await open(page, server);
  expect(await load(page, { parallel })).toMatchObject({ ok: true });
  expect(await stored(page)).toMatchObject([{ complete: true, sha256: hashOf(server.bytes) }]);
  // A range under way is lost, and at most as much again stands in the sockets' buffers.
  expect(server.sent_bytes - server.bytes.length).toBeLessThanOrEqual((kills * parallel + 1) * RANGE_BYTES);
});

const EVILS: Record<string, Partial<Evil>> = {
  drops: { drop: 0.4 },
  stalls: { stall: 0.15 },
  "lies about lengths": { lie: 0.3 },
  "ignores ranges now and then": { ignore: 0.2 },
  "sends other ranges": { shift: 0.3, overrun: 0.3 },
  "does all of it, and refuses": { drop: 0.15, stall: 0.05, lie: 0.15, ignore: 0.05, shift: 0.1, overrun: 0.1, refuse: 0.15 },
};

for (const [name, evil] of Object.entries(EVILS)) {
  for (const store of [true, false]) {
    test(`a server that ${name} is put up with, ${store ? "stored" : "unstored"}`, async ({ page, server, complaints }) => {
      server.evil = { ...GOOD, ...evil };
      await open(page, server);
      const end = await load(page, { stallMs: STALL_MS, keep: store });
      expect(end).toMatchObject({ ok: true, text: expect.stringContaining("time") as unknown });
      if (store) expect(await stored(page)).toMatchObject([{ complete: true, sha256: hashOf(server.bytes) }]);
      complaints.length = 0;
    });
  }
}

test("a server without ranges is read whole", async ({ page, server }) => {
  server.ranges = false;
  await open(page, server);
  expect(await load(page)).toMatchObject({ ok: true });
  expect(await stored(page)).toMatchObject([{ complete: true, sha256: hashOf(server.bytes) }]);
  expect(await load(page, { keep: false })).toMatchObject({ ok: true });
});

test("content that changes under way is begun again, and a wrong hash is refused", async ({ page, server }) => {
  server.pace_ms = 4;
  await open(page, server);
  const loading = load(page, { parallel: 1 });
  await expect.poll(() => server.sent_bytes, { intervals: [10] }).toBeGreaterThan(server.bytes.length / 3);
  const changed = Buffer.from(server.bytes);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  [server.bytes, server.etag] = [changed, '"two"'];
  server.pace_ms = 0;
  expect(await loading).toMatchObject({ ok: true });
  expect(await stored(page)).toMatchObject([{ complete: true, sha256: hashOf(changed) }]);

  const sha256 = "0".repeat(64);
  for (const options of [{}, { keep: false }]) {
    if ("keep" in options) server.ranges = false;
    const end = await load(page, options, { sha256 });
    expect(end).toMatchObject({ ok: false, code: "source_unreadable", message: expect.stringContaining(sha256) as unknown });
  }
});

test("a full disk keeps what there is, and the model is read all the same", async ({ page, server }) => {
  await open(page, server);
  const client = await page.context().newCDPSession(page);
  const quota = (quotaSize?: number) =>
    client.send("Storage.overrideQuotaForOrigin", { origin: new URL(server.url).origin, ...(quotaSize === undefined ? {} : { quotaSize }) });
  await quota(1_000_000);
  expect(await load(page)).toMatchObject({ ok: true, last: { stored: false } });
  await quota();
  expect(await load(page)).toMatchObject({ ok: true, last: { stored: true } });
});

test("without leave to store, the model is read all the same", async ({ page, server }) => {
  await page.route(/\.js$/, async (route) => {
    const response = await route.fetch();
    const denied = "StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('denied', 'SecurityError'));\n";
    await route.fulfill({ response, body: denied + (await response.text()) });
  });
  await open(page, server);
  expect(await load(page)).toMatchObject({ ok: true, last: { stored: false } });
  expect(await page.evaluate(() => window.testing.Tandem.storage.list())).toEqual([]);
});

test("two tabs that load at once download once, and neither removes what the other uses", async ({ page, server, context }) => {
  server.pace_ms = 2;
  const other = await context.newPage();
  await Promise.all([open(page, server), open(other, server)]);
  const ends = await Promise.all([load(page), load(other)]);
  for (const end of ends) expect(end).toMatchObject({ ok: true });
  // Both look at it; one downloads it.
  expect(server.sent_bytes).toBeLessThanOrEqual(server.bytes.length + 2 * RANGE_BYTES);
  server.pace_ms = 0;
  const removed = await page.evaluate(async () => {
    const { Tandem } = window.testing;
    const { storage } = Tandem;
    const engine = await Tandem.load({ target: new URL("/files/model.gguf", location.href), device: "cpu", contextTokens: 64 });
    const [file] = await storage.list();
    const used = await storage.remove(file?.id ?? "");
    engine.dispose();
    // The worker's locks go with it.
    for (let i = 0; i < 100; i += 1) {
      if (await storage.remove(file?.id ?? "")) return [used, true];
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return [used, false];
  });
  expect(removed).toEqual([false, true]);
});

test("a stop, and an address with nothing behind it, are told apart", async ({ page, server, complaints }) => {
  await open(page, server);
  server.pace_ms = 20;
  const found = await page.evaluate(async () => {
    const { Tandem } = window.testing;
    const codeOf = (error: unknown) => (error as { code?: string }).code;
    const controller = new AbortController();
    const loading = Tandem.load({ target: new URL("/files/model.gguf", location.href), signal: controller.signal }).catch(codeOf);
    setTimeout(() => controller.abort(), 300);
    const missing = await Tandem.load({ target: new URL("/files/nothing.gguf", location.href) }).catch(codeOf);
    return [await loading, missing];
  });
  expect(found).toEqual(["aborted", "file_missing"]);
  complaints.length = 0; // the browser logs the 404 itself
});

test("the hash is SHA-256, whatever the pieces", () => {
  const bytes = Buffer.alloc(1000, "abcdefg");
  for (let n = 0; n < 300; n += 1) {
    const piece = bytes.subarray(0, n);
    expect(new Sha256().update(piece).hex()).toBe(hashOf(piece));
  }
  const hash = new Sha256();
  for (let at = 0; at < bytes.length; at += 77) hash.update(bytes.subarray(at, at + 77));
  expect(hash.hex()).toBe(hashOf(bytes));
});

test("what people paste is understood", () => {
  const hub = "owner/na.me-1";
  expect(placeOf(hub)).toEqual({ hub });
  expect(placeOf(`${hub}:Q4_K_M`)).toEqual({ hub, quant: "Q4_K_M" });
  expect(placeOf(`${hub}/sub/a.gguf`)).toEqual({ hub, file: "sub/a.gguf" });
  expect(placeOf(`https://huggingface.co/${hub}`)).toEqual({ hub });
  expect(placeOf(`https://huggingface.co/${hub}/blob/dev/a%20b.gguf`)).toEqual({ hub, revision: "dev", file: "a b.gguf" });
  expect(placeOf({ url: `https://huggingface.co/${hub}/resolve/main/a.gguf` })).toEqual({ hub, revision: "main", file: "a.gguf" });
  const url = "https://example.com/a.gguf?token=1";
  expect(placeOf(new URL(url))).toEqual({ url });
  expect(() => placeOf("nonsense")).toThrow(expect.objectContaining({ code: "request_invalid", param: "model" }) as Error);
  expect(() => placeOf("javascript:alert(1)")).toThrow("no web address");

  const files = ["README.md", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-IQ4_K_M.gguf", "mmproj-F16.gguf", "big-F16-00001-of-00002.gguf", "big-F16-00002-of-00002.gguf"];
  const listed = files.map((path, i) => ({ path, size_bytes: i, sha256: null }));
  expect(pickWeights({ hub }, listed)).toBe("m-Q4_K_M.gguf");
  expect(pickWeights({ hub, quant: "q8_0" }, listed)).toBe("m-Q8_0.gguf");
  expect(pickWeights({ hub, quant: "F16" }, listed)).toBe("big-F16-00001-of-00002.gguf");
  const folder = ["config.json", "model.safetensors"].map((path) => ({ path, size_bytes: 1, sha256: null }));
  expect(pickWeights({ hub }, [...listed, ...folder])).toBe(undefined);
  expect(() => pickWeights({ hub, quant: "Q3_K" }, listed)).toThrow("m-Q8_0.gguf");
  expect(() => pickWeights({ hub }, [])).toThrow("nor any weights");
});
