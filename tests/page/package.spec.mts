/** The npm package, from an empty folder, as a stranger would take it. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { builtWithThreads, bundle, BUNDLERS, expect, serveFolder, test as base } from "../../www/page-testing.ts";

const execute = promisify(execFile);

/** An empty folder with the package installed. */
const test = base.extend<{ folder: string }>({
  // Playwright wants a pattern here.
  // eslint-disable-next-line no-empty-pattern
  folder: async ({}, use) => {
    const tarball = process.env["TANDEM_PACKAGE"];
    base.skip(tarball === undefined, "package: no tarball (cargo xtask package)");
    const folder = await mkdtemp(join(tmpdir(), "tandem-package-"));
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }));
    // It depends on nothing, so that it needs no registry.
    await execute("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball ?? ""], { cwd: folder });
    await use(folder);
    await rm(folder, { recursive: true, force: true });
  },
});

for (const bundler of BUNDLERS) {
  test(`ten lines stream a reply: ${bundler}`, async ({ folder, page }) => {
    const out = await bundle(bundler, folder);
    // On a page that is isolated too, where the engine takes all of the processor's threads.
    for (const isolated of [false, true]) {
      const server = await serveFolder(out, isolated);
      try {
        await page.goto(server.url);
        await expect(page).toHaveTitle("done", { timeout: 120_000 });
        expect(await page.evaluate(() => document.body.textContent)).toMatch(/\w+ \w+/);
        const threads = Number(await page.evaluate(() => document.documentElement.dataset["threads"]));
        const cores = await page.evaluate(() => navigator.hardwareConcurrency);
        expect(threads > 1).toBe(isolated && builtWithThreads() && cores > 1);
      } finally {
        server.stop();
      }
    }
  });
}

test("it can be imported where there is no browser, and says what it lacks", async ({ folder }) => {
  const script = `
    import { Tandem, TandemError } from "tandem-llm";
    import { embedded } from "tandem-llm/embedded";
    import { PAIRS } from "tandem-llm/catalogue";
    const error = await Tandem.load().catch((error) => error);
    console.log(JSON.stringify([typeof Tandem.connect, embedded().target.url.endsWith(".gguf"), PAIRS.length > 3, error instanceof TandemError, error.code]));
  `;
  const { stdout } = await execute(process.execPath, ["--input-type=module", "-e", script], { cwd: folder });
  expect(JSON.parse(stdout)).toEqual(["function", true, true, true, "request_invalid"]);
});
