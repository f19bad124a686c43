import { createServer, type Server } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { expect, lastReply, modelReady, say, SITE, test, type Page } from "../../www/page-testing.ts";
import { inPieces, scriptEngine } from "./scripted.mts";

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

/** The page on a plain static host, below a folder, without a header of ours. */
async function staticHost(): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://host").pathname;
    const name = path === "/some/folder/" ? "index.html" : path.replace(/^\/some\/folder\//, "");
    readFile(join(SITE, normalize(name))).then(
      (bytes) => response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "application/octet-stream" }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the host has no port");
  return { server, url: `http://127.0.0.1:${address.port}/some/folder/` };
}

const keptWhole = (page: Page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    return registration.active?.state === "activated";
  });

test("on a plain host, below a folder, and then with the host gone", async ({ page }) => {
  const { server, url } = await staticHost();
  await page.goto(url);
  await modelReady(page);
  await say(page, "Once upon a time");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", /whole|length/);
  const said = (await lastReply(page).textContent()) ?? "";
  await expect.poll(() => keptWhole(page)).toBe(true);

  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await page.goto("about:blank");
  await page.goto(url);
  await modelReady(page);
  await page.getByRole("navigation").getByRole("button", { name: /^Once upon a time/ }).click();
  await expect(lastReply(page)).toHaveText(said);
  await say(page, "And then?");
  await expect(page.locator('article[data-role="assistant"]')).toHaveCount(2);
  await expect(lastReply(page)).not.toBeEmpty();
});

test("tools run with the host gone, and those that connect say quickly that they cannot", async ({ page, complaints }) => {
  const { server, url } = await staticHost();
  const sum = { calls: [{ name: "calculator", arguments: { expression: "17 + 25" } }] };
  const sky = { calls: [{ name: "weather", arguments: { city: "Oslo" } }] };
  await scriptEngine(page, { tools: true, replies: [sum, inPieces("It is 42."), sky, inPieces("I could not look.")] });
  await page.goto(url);
  await modelReady(page);
  await expect.poll(() => keptWhole(page)).toBe(true);
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await page.goto("about:blank");
  await page.goto(url);
  await modelReady(page);

  await say(page, "What is 17 plus 25?");
  await expect(lastReply(page)).toHaveText("It is 42.");
  const done = page.getByRole("list", { name: "What was done" }).last();
  await done.getByText("calculator", { exact: true }).click();
  await expect(done.getByRole("region", { name: "What calculator found" })).toHaveText('{"result": 42}');

  await say(page, "And the weather in Oslo?");
  await page.getByRole("dialog").getByRole("button", { name: "Allow once" }).click();
  // Sooner than any call may take.
  await expect(lastReply(page)).toHaveText("I could not look.", { timeout: 20_000 });
  await expect(done).toContainText("unreachable");
  await page.keyboard.press("Control+Shift+.");
  await expect(page.getByRole("dialog")).toContainText("the server that this page came from cannot be reached");
  complaints.length = 0; // the browser logs that there is no server
});

test("the page can be installed", async ({ page, baseURL }) => {
  await page.goto("");
  const href = await page.locator('link[rel="manifest"]').getAttribute("href");
  const manifest = (await (await page.request.get(new URL(href ?? "", baseURL).href)).json()) as {
    display: string;
    start_url: string;
    icons: { src: string; sizes: string }[];
  };
  expect(manifest.display).toBe("standalone");
  for (const { src } of manifest.icons) {
    expect((await page.request.get(new URL(src, baseURL).href)).status()).toBe(200);
  }
});
