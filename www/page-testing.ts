/** What the specs in `tests/page` import: they lie outside this package, so only a
 * file inside it can find Playwright. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test as base, expect, type Page } from "@playwright/test";

export { expect, type Page };
export { default as OpenAI } from "openai";
export { bundle, BUNDLERS } from "./bundlers.ts";
export { GOOD, HostileServer, serveFolder, type Evil } from "./hostile.ts";

const ROOT = resolve(import.meta.dirname, "..");

/** Whether the engine was built with threads too. */
export function builtWithThreads(): boolean {
  const module = join(ROOT, "www/lib/threaded.js");
  return existsSync(module) && readFileSync(module, "utf8").includes("tandem_threads");
}

/** The folder that is served. */
export const SITE = join(ROOT, "www/dist");

/** A file or folder of the shared data, as the Rust tests look for it. */
function shared(path: string): string | undefined {
  const named = process.env["TANDEM_SHARED"];
  const folders = named ? [named] : [join(ROOT, "../shared"), join(ROOT, "../../shared")];
  return folders.map((folder) => join(folder, path)).find(existsSync);
}

/** Real weights: the pair that ships, else the shared data; the files to hand to a
 * file picker. */
export function realWeights(): string[] | undefined {
  const models = join(ROOT, "models");
  const shipped = existsSync(models) ? readdirSync(models).filter((name) => name.endsWith(".gguf")) : [];
  const target = shipped.find((name) => name.includes("target")) ?? shipped[0];
  if (target) return [join(models, target)];
  const folder = shared("data/weights/tinystories-656k-bf16");
  if (!folder) return undefined;
  return ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((name) => join(folder, name));
}

/** The larger model of the pair that ships. */
export function shippedTarget(): Buffer {
  return readFileSync(join(ROOT, "models/tandem-target-q8_0.gguf"));
}

/** A test that collects what the page complains about and fails on it at the end. */
export const test = base.extend<{ complaints: string[] }>({
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
      await use(complaints);
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});

/** Opens the page and waits until its model is there. */
export async function openPage(page: Page): Promise<void> {
  await page.goto("");
  await modelReady(page);
}

/** Opens the page as one at a public address has it: the same files and headers, under another
 * name. What goes to no server of this machine is answered by the test. */
export async function openPublicPage(page: Page): Promise<void> {
  const at = "https://tandem.example/";
  const base = test.info().project.use.baseURL ?? "";
  await page.route(`${at}**`, async (route) => {
    const response = await route.fetch({ url: new URL(route.request().url().slice(at.length), base).href });
    await route.fulfill({ response });
  });
  await page.goto(at);
  await modelReady(page);
}

/** Waits until the page has a model. */
export async function modelReady(page: Page): Promise<void> {
  await expect(page.locator('[data-engine="ready"]')).toBeVisible({ timeout: 120_000 });
}

/** Chooses real weights in the page and waits until they are loaded; skips where
 * there are none. */
export async function loadRealWeights(page: Page): Promise<void> {
  const files = realWeights();
  // The count is by `what: why`, as the Rust tests print it.
  test.skip(!files, "shared: no weights in models/ or ../shared/data");
  await page.goto("");
  await page.getByLabel("Model files").setInputFiles(files ?? []);
  await modelReady(page);
}

/** The last reply's text. */
export function lastReply(page: Page) {
  return page.locator('article[data-role="assistant"] > .text').last();
}

/** Writes a prompt and sends it. */
export async function say(page: Page, text: string): Promise<void> {
  const field = page.getByLabel("Message", { exact: true });
  await field.fill(text);
  await field.press("Enter");
}

/** Opens the page of `www/testing`, where the library has loaded the pair that ships. */
export async function openLibrary(page: Page): Promise<void> {
  await page.goto("testing/");
  await page.waitForFunction(() => "testing" in window, undefined, { timeout: 120_000 });
}
