import { expect, lastReply, openPage, realWeights, say, test } from "../../www/page-testing.ts";
import { inPieces, scriptEngine } from "./scripted.mts";

test("the pair that ships says who proposed each token, and how sure it was", async ({ page }) => {
  test.skip(!realWeights(), "shared: no weights in models/ or ../shared/data");
  await openPage(page);
  await say(page, "Tell me a story about a little dog.");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", /whole|length/, { timeout: 150_000 });
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  const tokens = page.getByRole("listbox", { name: "Tokens of the reply" });
  // The tokens are the reply, and some of them were guessed.
  const text = (await tokens.getByRole("option").allTextContents()).join("");
  const shown = (await lastReply(page).textContent()) ?? "";
  expect(text.replace(/\s+/g, "")).toContain(shown.replace(/\s+/g, "").slice(0, 60));
  expect(await tokens.locator(".by-draft").count()).toBeGreaterThan(0);
  expect(await tokens.locator(".by-target").count()).toBeGreaterThan(0);
  await tokens.locator(".by-draft").first().hover();
  await expect(page.getByText("guessed by the draft model, and right")).toBeVisible();
  await tokens.focus();
  await page.keyboard.press("End");
  await expect(tokens.getByRole("option").last()).toHaveAttribute("aria-selected", "true");
  await expect(page.getByRole("img", { name: /how sure each token was/ })).toBeVisible();
});

test("while a reply is made the gauge tells speed, speed-up, hits and why", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("word ".repeat(120))], pause_ms: 20 });
  await openPage(page);
  await say(page, "Go on");
  await expect(page.getByText(/^\d[\d.]* tokens\/s$/)).toBeVisible();
  await expect(page.getByText("1.7× plain")).toBeVisible();
  await expect(page.getByText("67% of guesses right")).toBeVisible();
  await expect(page.getByText("guessing 3 ahead pays here")).toBeVisible();
});

test("words that the model was unsure of are marked where that is asked for", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("The quick **brown** fox jumps over the lazy dog at noon.")] });
  await openPage(page);
  await say(page, "Go on");
  await expect(lastReply(page)).toContainText("noon.");
  const marked = () =>
    page.evaluate(() => [...(CSS.highlights.get("unsure") ?? [])].map((range) => (range as Range).toString()));
  expect(await marked()).toEqual([]);
  await page.keyboard.press("Control+,");
  await page.getByLabel("Mark words in replies").check();
  await page.keyboard.press("Escape");
  // Every fifth piece is an unsure one.
  await expect.poll(marked).toEqual(["The", "jumps", "at"]);
});
