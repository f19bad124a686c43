import { expect, lastReply, openPage, say, test, type Page } from "../../www/page-testing.ts";
import { asked, inPieces, scriptEngine } from "./scripted.mts";

const HELLO = inPieces("Hello there, this is a reply with some words in it.");

const list = (page: Page) => page.getByRole("navigation", { name: "Conversations" });
const open = (page: Page, title: string) => list(page).getByRole("button", { name: new RegExp(`^${title}`) });
const messages = (page: Page, role: "user" | "assistant") => page.locator(`article[data-role="${role}"]`);
const done = (page: Page) => expect(messages(page, "assistant").last()).not.toHaveAttribute("data-status", "streaming");

test("conversations are listed, found, renamed, deleted and brought back", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("The sea is blue."), inPieces("The moon is round.")] });
  await openPage(page);
  await say(page, "About the sea");
  await done(page);
  await page.keyboard.press("Control+Shift+O");
  await say(page, "About the moon");
  await done(page);
  await expect(list(page).getByRole("listitem")).toHaveCount(2);

  await page.keyboard.press("Control+K");
  await expect(page.getByLabel("Search conversations")).toBeFocused();
  // By what the model said, not by the title.
  await page.keyboard.type("is blue");
  await expect(list(page).getByRole("listitem")).toHaveCount(1);
  await expect(open(page, "About the sea")).toBeVisible();
  await page.getByLabel("Search conversations").fill("nowhere");
  await expect(list(page)).toContainText("Nothing says");
  await page.getByLabel("Search conversations").fill("");

  await open(page, "About the sea").click();
  await expect(lastReply(page)).toContainText("The sea is blue.");
  await page.getByRole("button", { name: "Rename About the sea" }).click();
  await page.getByLabel("Title").fill("Water");
  await page.keyboard.press("Enter");
  await expect(open(page, "Water")).toBeVisible();

  await page.getByRole("button", { name: "Delete Water" }).click();
  await expect(open(page, "Water")).toHaveCount(0);
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(open(page, "Water")).toBeVisible();
  await expect(lastReply(page)).toContainText("The sea is blue.");

  await page.reload();
  await expect(open(page, "Water")).toBeVisible();
  await expect(lastReply(page)).toContainText("The sea is blue.");
});

test("editing and asking again make versions, and each keeps what followed", async ({ page }) => {
  await scriptEngine(page, { replies: ["One.", "Two.", "Three.", "Four."].map(inPieces) });
  await openPage(page);
  await say(page, "First");
  await done(page);
  await page.getByRole("button", { name: "Another reply" }).click();
  await expect(lastReply(page)).toHaveText("Two.");
  await done(page);
  await say(page, "Second");
  await expect(lastReply(page)).toHaveText("Three.");
  await done(page);

  await messages(page, "assistant").first().hover();
  await messages(page, "assistant").first().getByRole("button", { name: "Version before" }).click();
  await expect(messages(page, "assistant")).toHaveCount(1);
  await expect(lastReply(page)).toHaveText("One.");
  await messages(page, "assistant").first().getByRole("button", { name: "Version after" }).click();
  await expect(lastReply(page)).toHaveText("Three.");

  await messages(page, "user").first().hover();
  await messages(page, "user").first().getByRole("button", { name: "Edit and ask again" }).click();
  await page.getByLabel("Edit message").fill("First, said better");
  await page.keyboard.press("Enter");
  await expect(lastReply(page)).toHaveText("Four.");
  await done(page);
  const requests = await asked(page);
  expect(requests.at(-1)?.messages).toEqual([{ role: "user", content: "First, said better" }]);
  expect(requests[2]?.messages?.map(({ content }) => content)).toEqual(["First", "Two.", "Second"]);
  await page.reload();
  await expect(lastReply(page)).toHaveText("Four.");
  await messages(page, "user").first().hover();
  await messages(page, "user").first().getByRole("button", { name: "Version before" }).click();
  await expect(lastReply(page)).toHaveText("Three.");
});

test("a stopped reply goes on where it stopped", async ({ page }) => {
  await scriptEngine(page, { replies: [HELLO, inPieces(" And it goes on.")], pause_ms: 40 });
  await openPage(page);
  await say(page, "Hi");
  await expect(lastReply(page)).toContainText("Hello");
  await page.keyboard.press("Escape");
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "stopped");
  const stopped = (await lastReply(page).textContent()) ?? "";
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(lastReply(page)).toHaveText(`${stopped} And it goes on.`);
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "whole");
});

test("a reload in the middle of a reply loses nothing that was shown", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("word ".repeat(400)), inPieces("and the end.")], pause_ms: 20 });
  await openPage(page);
  await say(page, "Count");
  await expect.poll(async () => ((await lastReply(page).textContent()) ?? "").length).toBeGreaterThan(60);
  // Longer than it takes until a reply in the making is saved again.
  await page.waitForTimeout(1_000);
  const before = (await lastReply(page).textContent()) ?? "";
  await page.reload();
  await expect(messages(page, "user")).toHaveText("Count");
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "interrupted");
  const after = (await lastReply(page).textContent()) ?? "";
  expect(after.length).toBeGreaterThanOrEqual(before.length - 200);
  await page.getByRole("button", { name: "Continue" }).click();
  await expect.poll(async () => ((await lastReply(page).textContent()) ?? "").length).toBeGreaterThan(after.length);
});

test("a reply that another tab is writing is not taken for interrupted", async ({ page, context }) => {
  await scriptEngine(page, { replies: [inPieces("word ".repeat(400))], pause_ms: 20 });
  await openPage(page);
  await say(page, "Count");
  await expect(lastReply(page)).toContainText("word");
  await page.waitForTimeout(600);
  const other = await context.newPage();
  await other.goto(page.url());
  await expect(messages(other, "assistant")).toHaveAttribute("data-status", "streaming");
  await other.close();
});

test("a crash of the worker keeps what was said, and the page carries on", async ({ page }) => {
  await scriptEngine(page, { replies: [HELLO, HELLO], crash_after: 5, pause_ms: 10 });
  await openPage(page);
  await say(page, "Hi");
  await expect(page.getByRole("alert").first()).toContainText("crashed on request");
  await expect(lastReply(page)).toContainText("Hello");
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "failed");
  // It loaded again by itself.
  await expect(page.locator('[data-engine="ready"]')).toBeVisible();
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(lastReply(page)).toContainText("with some words in it.");
});

test("a GPU that is lost loses nothing that was said, and the page goes on with the model loaded again", async ({ page }) => {
  const lost = { n_pieces: 6, code: "gpu_lost", message: "the GPU device was lost: the driver was reset" };
  await scriptEngine(page, { replies: [HELLO, inPieces(" And it goes on."), HELLO], fail_after: lost, pause_ms: 10 });
  await openPage(page);
  await say(page, "Hi");
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "failed");
  await expect(page.getByRole("alert").first()).toContainText("The GPU stopped");
  const kept = (await lastReply(page).textContent()) ?? "";
  expect(kept).toContain("Hello");
  await expect.poll(() => page.evaluate(() => (window as { n_loads?: number }).n_loads)).toBe(2);
  await expect(page.locator('[data-engine="ready"]')).toBeVisible();
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(lastReply(page)).toHaveText(`${kept} And it goes on.`);
  await expect(messages(page, "assistant")).toHaveAttribute("data-status", "whole");
  await expect(page.getByRole("alert")).toHaveCount(0);
  await page.reload();
  await expect(lastReply(page)).toHaveText(`${kept} And it goes on.`);
});

test("what is being written is kept for each conversation", async ({ page }) => {
  await scriptEngine(page, { replies: [HELLO] });
  await openPage(page);
  await say(page, "Hi");
  await done(page);
  await page.getByLabel("Message", { exact: true }).fill("half a thou");
  await page.waitForTimeout(500);
  await page.keyboard.press("Control+Shift+O");
  await expect(page.getByLabel("Message", { exact: true })).toHaveValue("");
  await page.reload();
  await open(page, "Hi").click();
  await expect(page.getByLabel("Message", { exact: true })).toHaveValue("half a thou");
});

test("what is exported comes back, as what it was", async ({ page }) => {
  await scriptEngine(page, { replies: [HELLO] });
  await openPage(page);
  await say(page, "Hi");
  await done(page);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export all conversations" }).click();
  const path = await (await download).path();
  await page.getByRole("button", { name: "Delete Hi" }).click();
  await expect(list(page)).toContainText("0 on this device");
  await page.getByLabel("File of conversations").setInputFiles(path);
  await open(page, "Hi").click();
  await expect(lastReply(page)).toContainText("with some words in it.");
  const file = { name: "no.json", mimeType: "application/json", buffer: Buffer.from('{"format":"else"}') };
  await page.getByLabel("File of conversations").setInputFiles(file);
  await expect(page.getByRole("status")).toContainText("no export of conversations");
});

test("storage that is full is told, and the conversation goes on", async ({ page }) => {
  await scriptEngine(page, { replies: [HELLO] });
  await page.addInitScript(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await openPage(page);
  await say(page, "Hi");
  await expect(lastReply(page)).toContainText("with some words in it.");
  await expect(page.getByRole("alert")).toContainText("storage_full");
});
