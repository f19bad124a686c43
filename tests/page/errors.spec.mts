import { expect, lastReply, loadRealWeights, modelReady, openPage, say, test, type Page } from "../../www/page-testing.ts";

function problem(page: Page) {
  return page.getByRole("alert").first();
}

test("a file that is no model is an error with a code", async ({ page }) => {
  await page.goto("");
  const file = { name: "notes.gguf", mimeType: "", buffer: Buffer.from("these are not weights") };
  await page.getByLabel("Model files").setInputFiles(file);
  await expect(problem(page)).toContainText(/^(format|source)_[a-z]+/);
  await expect(problem(page)).toContainText("notes.gguf");
  // And nothing is stuck: another can be chosen.
  await page.keyboard.press("Control+Shift+M");
  await page.getByRole("button", { name: "The built-in pair" }).click();
  await modelReady(page);
});

test("an address that is not there is an error with a code", async ({ page, complaints }) => {
  await openPage(page);
  await page.keyboard.press("Control+Shift+M");
  await page.getByLabel("Address of a model").fill(new URL("nothing.gguf", page.url()).href);
  await page.getByRole("button", { name: "Load", exact: true }).click();
  await expect(problem(page)).toContainText(/source_unreadable|file_missing/);
  // The browser logs the 404 itself.
  complaints.length = 0;
});

test("a panic reaches the page as an error, and the engine loads again", async ({ page, complaints }) => {
  await loadRealWeights(page);
  await say(page, "Once upon a time");
  await expect(lastReply(page)).not.toBeEmpty();
  const worker = page.workers()[0];
  if (!worker) throw new Error("the engine has no worker");
  await worker.evaluate(() => {
    self.dispatchEvent(new MessageEvent("message", { data: { id: -1, call: "crash", request: null } }));
  });
  await expect(problem(page)).toContainText("internal");
  await expect(problem(page)).toContainText("crashed on request");
  complaints.length = 0; // the hook logs where it panicked

  await modelReady(page);
  await say(page, "Once upon a time");
  await expect(lastReply(page)).not.toBeEmpty();
});
