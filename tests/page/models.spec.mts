/** The panel of models: downloads that wait and go on, what is stored, servers, memory. */
import { expect, HostileServer, lastReply, modelReady, openPage, realWeights, say, shippedTarget, test, type Page } from "../../www/page-testing.ts";
import { inPieces, scriptEngine } from "./scripted.mts";

test("a download waits, goes on, and is deleted once nobody uses it", async ({ page }) => {
  test.skip(!realWeights(), "shared: no weights in models/ or ../shared/data");
  const server = new HostileServer(shippedTarget());
  await server.start();
  server.pace_ms = 60;
  await page.goto(server.url);
  await modelReady(page);
  await page.keyboard.press("Control+Shift+M");
  const panel = page.getByRole("dialog", { name: "Models" });
  await panel.getByLabel("Address of a model").fill(`${server.url}files/model.gguf`);
  await panel.getByRole("button", { name: "Load", exact: true }).click();
  await panel.getByRole("button", { name: "Pause" }).click();
  await expect(panel).toContainText("Waiting:");
  server.pace_ms = 0;
  await panel.getByRole("button", { name: "Go on" }).click();
  await modelReady(page);
  const file = panel.getByRole("listitem").filter({ hasText: "model.gguf" });
  await expect(file).toContainText("MB");
  await file.getByRole("button", { name: "Delete model.gguf" }).click();
  await expect(page.getByRole("status")).toContainText("in use");
  await panel.getByRole("button", { name: "The built-in pair" }).click();
  await modelReady(page);
  await file.getByRole("button", { name: "Delete model.gguf" }).click();
  await expect(file).toHaveCount(0);
  // Twice it was asked for: until it was told to wait, and to the end.
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+Shift+.");
  const log = page.getByRole("dialog", { name: "What has left this machine" });
  await expect(log.getByRole("listitem").filter({ hasText: `${server.url}files/model.gguf` })).toHaveCount(2);
  await expect(log.getByRole("listitem").first()).toContainText("A model’s files");
  await expect(log.getByRole("listitem").first()).toContainText("came");
  server.stop();
});

/** A server that says the same to everybody; on the page's own origin, where its policy lets it connect. */
async function serveReplies(page: Page): Promise<{ url: string; keys: (string | undefined)[] }> {
  const keys: (string | undefined)[] = [];
  await page.route("**/remote/v1/**", (route) => {
    keys.push(route.request().headers()["authorization"]);
    if (route.request().url().endsWith("/models")) return route.fulfill({ json: { data: [{ id: "big" }] } });
    const pieces = [{ content: "From " }, { content: "afar." }].map((delta) => ({ delta, finish_reason: null }));
    const events = [...pieces, { delta: {}, finish_reason: "stop" }].map((choice) => JSON.stringify({ choices: [{ index: 0, ...choice }] }));
    const body = [...events, "[DONE]"].map((event) => `data: ${event}\n\n`).join("");
    return route.fulfill({ contentType: "text/event-stream", body });
  });
  return { url: new URL("/remote/v1", page.url()).href, keys };
}

test("a server answers in place of a model, and its key is not kept", async ({ page }) => {
  await openPage(page);
  const { url, keys } = await serveReplies(page);
  await page.keyboard.press("Control+Shift+M");
  const panel = page.getByRole("dialog", { name: "Models" });
  await panel.getByLabel("Its address").fill(url);
  await panel.getByLabel(/^Key/).fill("sk-secret");
  await panel.getByRole("button", { name: "Connect" }).click();
  await expect(panel).toContainText("what you write goes there, and only there");
  await page.keyboard.press("Escape");
  await say(page, "Hello");
  await expect(lastReply(page)).toHaveText("From afar.");
  expect(keys).toContain("Bearer sk-secret");
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain("sk-secret");

  // What it was sent stands in the log, with where it was said; the key does not.
  await page.keyboard.press("Control+Shift+.");
  const log = page.getByRole("dialog", { name: "What has left this machine" });
  await expect(log.getByRole("listitem")).toHaveCount(2);
  const sent = log.getByRole("listitem").filter({ hasText: "/chat/completions" });
  await expect(sent).toContainText("Your server");
  await expect(sent).toContainText("POST");
  await expect(sent.getByRole("region", { name: "What it sent" })).toContainText('"content":"Hello"');
  await expect(sent.getByRole("button", { name: "in “Hello”" })).toBeVisible();
  await expect(log).not.toContainText("sk-secret");
});

test("what needs more memory than it may is not loaded, and the page says so", async ({ page }) => {
  test.skip(!realWeights(), "shared: no weights in models/ or ../shared/data");
  await openPage(page);
  await page.keyboard.press("Control+Shift+M");
  const panel = page.getByRole("dialog", { name: "Models" });
  const budget = panel.getByLabel(/^Memory for models/);
  await budget.fill("0.001");
  await budget.press("Tab");
  await expect(panel.getByRole("alert")).toContainText("out_of_memory");
  await budget.fill("");
  await budget.press("Tab");
  await modelReady(page);
});

test("what cannot be stored stays in view, and is stored once there is room again", async ({ page }) => {
  await page.addInitScript(() => {
    if (window !== window.top) return;
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (...given: Parameters<typeof put>) {
      if ("full" in window) throw new DOMException("no room", "QuotaExceededError");
      return put.apply(this, given);
    };
  });
  await scriptEngine(page, { replies: [inPieces("One two three."), inPieces("Four five six."), inPieces("Seven eight.")] });
  await openPage(page);
  await say(page, "Before");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
  await page.evaluate(() => Object.assign(window, { full: true }));
  await say(page, "After");
  await expect(lastReply(page)).toHaveText("Four five six.");
  await expect(page.getByText("There is no room left on this device")).toBeVisible();
  await page.keyboard.press("Control+Shift+O");
  await expect(page.locator('article[data-role="assistant"]')).toHaveCount(0);
  await page.getByRole("button", { name: /^Before/ }).click();
  await expect(lastReply(page)).toHaveText("Four five six.");
  await page.evaluate(() => delete (window as { full?: boolean }).full);
  await say(page, "Once more");
  await expect(lastReply(page)).toHaveText("Seven eight.");
  await expect(page.getByText("There is no room left on this device")).toBeHidden();
  await page.reload();
  const replies = page.locator('article[data-role="assistant"]');
  await expect(replies).toHaveCount(3);
  for (const [at, text] of ["One two three.", "Four five six.", "Seven eight."].entries()) await expect(replies.nth(at)).toContainText(text);
});

test("a server's model uses the page's tools, which run here", async ({ page }) => {
  await openPage(page);
  const call = { index: 0, id: "call-1", type: "function", function: { name: "calculator", arguments: '{"expression": "17 + 25"}' } };
  const asked: { messages: { role: string; content: string }[]; tools?: { function: { name: string } }[] }[] = [];
  await page.route("**/remote/v1/**", (route) => {
    if (route.request().url().endsWith("/models")) return route.fulfill({ json: { data: [{ id: "big" }] } });
    asked.push(route.request().postDataJSON() as (typeof asked)[number]);
    const choices = asked.length === 1 ? [{ delta: { tool_calls: [call] } }, { delta: {}, finish_reason: "tool_calls" }] : [{ delta: { content: "It is 42." } }, { delta: {}, finish_reason: "stop" }];
    const events = choices.map((choice) => JSON.stringify({ choices: [{ index: 0, finish_reason: null, ...choice }] }));
    return route.fulfill({ contentType: "text/event-stream", body: [...events, "[DONE]"].map((event) => `data: ${event}\n\n`).join("") });
  });
  await page.keyboard.press("Control+Shift+M");
  const panel = page.getByRole("dialog", { name: "Models" });
  await panel.getByLabel("Its address").fill(new URL("/remote/v1", page.url()).href);
  await panel.getByRole("button", { name: "Connect" }).click();
  await expect(panel).toContainText("what you write goes there, and only there");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+.");
  await page.getByRole("checkbox", { name: /^calculator/ }).check();
  await page.keyboard.press("Escape");
  await say(page, "What is 17 plus 25?");
  await expect(lastReply(page)).toHaveText("It is 42.");
  expect(asked).toHaveLength(2);
  expect(asked[0]?.tools?.map((tool) => tool.function.name)).toEqual(["calculator"]);
  expect(JSON.stringify(asked[1]?.messages)).toContain("42");
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("calculator");
});
