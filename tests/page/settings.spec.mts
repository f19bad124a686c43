/** Settings of a conversation: what is asked of the engine, kept, named and copied. */
import { expect, lastReply, openPage, say, test, type Page } from "../../www/page-testing.ts";
import { asked, inPieces, scriptEngine } from "./scripted.mts";

const whole = (page: Page) => expect(page.locator('article[data-role="assistant"]').last()).toHaveAttribute("data-status", "whole");

test("what is set is what is asked, stays with its conversation, and is the same as code", async ({ page }) => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await scriptEngine(page, { replies: [inPieces("Yes.")] });
  await openPage(page);
  await page.keyboard.press("Control+,");
  const panel = page.getByRole("dialog", { name: "Settings" });
  await panel.getByRole("button", { name: "Precise" }).click();
  await panel.getByLabel("System prompt").fill("Be brief.");
  await panel.getByLabel("Seed").fill("7");
  await panel.getByLabel("Most tokens").fill("64");
  await panel.getByLabel("Stop at, one a line").fill("END");
  await panel.getByLabel("JSON schema").fill('{"type":"object"');
  await expect(panel.getByLabel("JSON schema")).toHaveAttribute("aria-invalid", "true");
  await panel.getByLabel("JSON schema").fill('{"type":"object"}');
  await expect(panel.getByLabel("JSON schema")).toHaveAttribute("aria-invalid", "false");
  await page.keyboard.press("Escape");
  await say(page, "Is it?");
  await whole(page);
  const [request] = await asked(page);
  expect(request).toMatchObject({
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Is it?" },
    ],
    temperature: 0,
    seed: 7,
    max_tokens: 64,
    stop: ["END"],
    response_format: { type: "json_schema", json_schema: { schema: { type: "object" } } },
    speculation: { mode: "auto" },
  });

  await page.keyboard.press("Control+,");
  await panel.getByRole("button", { name: /code/ }).click();
  const code = await page.evaluate(() => navigator.clipboard.readText());
  for (const part of ["Tandem.load()", "seed: 7", "max_tokens: 64", '"Be brief."', '"Is it?"', "json_schema"]) expect(code).toContain(part);
  await page.keyboard.press("Escape");

  // Another conversation begins as usual; this one keeps what it has.
  await page.keyboard.press("Control+Shift+O");
  await say(page, "And this?");
  await whole(page);
  expect((await asked(page)).at(-1)?.messages).toEqual([{ role: "user", content: "And this?" }]);
  await page.reload();
  await page.getByRole("navigation").getByRole("button", { name: /^Is it/ }).click();
  await expect(lastReply(page)).toHaveText("Yes.");
  await page.keyboard.press("Control+,");
  await expect(panel.getByLabel("System prompt")).toHaveValue("Be brief.");
  await expect(panel.getByLabel("Seed")).toHaveValue("7");
});

test("settings are kept under a name, from the keyboard, and forgotten", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("Yes.")] });
  await openPage(page);
  await page.keyboard.press("Control+,");
  const panel = page.getByRole("dialog", { name: "Settings" });
  await panel.getByLabel("Temperature").fill("0.3");
  await panel.getByRole("button", { name: "Keep these…" }).press("Enter");
  const field = panel.getByLabel("A name for these settings");
  await expect(field).toBeFocused();
  // Esc is for the field alone, while there is one.
  await page.keyboard.press("Escape");
  await expect(field).toHaveCount(0);
  await expect(panel).toBeVisible();
  await panel.getByRole("button", { name: "Keep these…" }).press("Enter");
  await page.keyboard.type("precise");
  await expect(panel.getByText("came with the page")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(field).toHaveValue("precise");
  await field.fill("Sober");
  await page.keyboard.press("Enter");
  await expect(panel.getByRole("button", { name: "Sober", exact: true })).toHaveAttribute("aria-pressed", "true");
  await panel.getByRole("button", { name: "Inventive" }).click();
  await page.reload();
  await page.keyboard.press("Control+,");
  await panel.getByRole("button", { name: "Sober", exact: true }).click();
  await expect(panel.getByLabel("Temperature")).toHaveValue("0.3");
  await panel.getByRole("button", { name: "Forget Sober" }).click();
  await expect(panel.getByRole("button", { name: "Sober", exact: true })).toHaveCount(0);
});

test("what a model thinks is folded, and kept apart from what it says", async ({ page }) => {
  await scriptEngine(page, { replies: [{ thinks: inPieces("Let me see: it is far."), says: inPieces("It is far.") }] });
  await openPage(page);
  await say(page, "How far is it?");
  await whole(page);
  await expect(lastReply(page)).toHaveText("It is far.");
  const thought = page.locator("article details", { hasText: "Thought before it spoke" });
  await expect(thought).not.toHaveAttribute("open");
  await thought.locator("summary").click();
  await expect(thought).toContainText("Let me see: it is far.");
  await say(page, "Really?");
  await whole(page);
  // It is not said again to the model.
  expect(JSON.stringify((await asked(page)).at(-1)?.messages)).not.toContain("Let me see");
});

test("the view follows a reply, until the person looks elsewhere", async ({ page }) => {
  await page.setViewportSize({ width: 800, height: 500 });
  await scriptEngine(page, { replies: [inPieces("word and word\n\n".repeat(120))], pause_ms: 15 });
  await openPage(page);
  await say(page, "Go on");
  const scroller = page.getByRole("log", { name: "Conversation" }).locator("..");
  const left = () => scroller.evaluate((at) => at.scrollHeight - at.scrollTop - at.clientHeight);
  await expect.poll(() => scroller.evaluate((at) => at.scrollTop)).toBeGreaterThan(200);
  expect(await left()).toBeLessThan(100);
  await scroller.hover();
  await page.mouse.wheel(0, -400);
  const end = page.getByRole("button", { name: "To the end" });
  await expect(end).toBeVisible();
  const stood = await scroller.evaluate((at) => at.scrollTop);
  await whole(page);
  expect(await scroller.evaluate((at) => at.scrollTop)).toBe(stood);
  await end.click();
  await expect.poll(left).toBeLessThan(100);
});

test("a model's file that is dropped on the page is loaded", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("Yes.")] });
  await openPage(page);
  const dropped = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["weights"], "mine.gguf"));
    return transfer;
  });
  await page.locator("main").dispatchEvent("dragover", { dataTransfer: dropped });
  await page.locator("main").dispatchEvent("drop", { dataTransfer: dropped });
  await expect.poll(() => page.evaluate(() => (window as { n_loads?: number }).n_loads)).toBe(2);
  await page.keyboard.press("Control+Shift+M");
  await expect(page.getByRole("dialog", { name: "Models" })).toContainText("from mine.gguf");
});
