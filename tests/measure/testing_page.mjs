/**
 * The library's test page in Chromium, for measuring: built around the engine in
 * `www/lib/wasm` (`cargo xtask serve` makes it) and the pair in `models/`, and served here.
 * `TANDEM_CHROMIUM` names a browser; without it Playwright's own is used.
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const www = fileURLToPath(new URL("../../www/", import.meta.url));
const { resolve } = createRequire(`${www}package.json`);

/** The page, with `window.testing.engine` loaded; `close` ends browser and server. */
export async function openTestingPage() {
  const { default: { chromium } } = await import(resolve("@playwright/test"));
  const { build, preview } = await import(resolve("vite"));
  await build({ root: `${www}testing`, configFile: `${www}vite.testing.config.ts`, logLevel: "error" });
  const server = await preview({ root: www, configFile: false, logLevel: "error", build: { outDir: "dist" }, preview: { port: 0, host: "127.0.0.1" } });
  const executablePath = process.env.TANDEM_CHROMIUM;
  const browser = await chromium.launch({ args: ["--no-sandbox"], ...(executablePath ? { executablePath } : {}) });
  const page = await browser.newPage();
  await page.goto(new URL("testing/", server.resolvedUrls.local[0]).href);
  await page.waitForFunction(() => "testing" in window, undefined, { timeout: 300_000 });
  return {
    page,
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
