import AxeBuilder from "../../www/node_modules/@axe-core/playwright/dist/index.mjs";
import { expect, lastReply, openPage, say, test, type Page } from "../../www/page-testing.ts";
import { inPieces, scriptEngine } from "./scripted.mts";

const REPLY = "A reply with **marks**, a [link](https://example.com), `code`:\n\n```rust\nfn main() {}\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nand $x^2$.";

async function noViolations(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ html }) => `${where}: ${impact ?? ""} ${id}: ${html}`),
  );
  expect.soft(found).toEqual([]);
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`every view passes axe, ${colorScheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await scriptEngine(page, { replies: [inPieces(REPLY)] });
    await openPage(page);
    await noViolations(page, "first");
    await say(page, "Hello");
    await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
    await expect(lastReply(page).locator(".katex")).toBeVisible();
    await noViolations(page, "conversation");
    await page.getByRole("button", { name: "Tokens of this reply" }).click();
    await page.getByRole("listbox", { name: "Tokens of the reply" }).focus();
    await noViolations(page, "tokens");
    await page.getByRole("button", { name: "How sure it was" }).click();
    await noViolations(page, "certainty");
    for (const keys of ["Control+,", "Control+Shift+M", "Control+.", "Control+Shift+.", "Control+/"]) {
      await page.keyboard.press(keys);
      await expect(page.getByRole("dialog")).toBeVisible();
      await noViolations(page, keys);
      await page.keyboard.press("Escape");
    }
    await page.setViewportSize({ width: 390, height: 844 });
    await page.keyboard.press("Control+B");
    await noViolations(page, "drawer");
  });
}

test("what asks the person passes axe, and can be answered from the keyboard", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const plan = 'Plan: Find the weather.\n#E1 = weather[{"city": "Oslo"}]';
  const calls = [{ name: "weather", arguments: { city: "Oslo" } }];
  await scriptEngine(page, { tools: true, replies: [{ calls }, inPieces("I did not look."), [plan]] });
  await openPage(page);
  await say(page, "How is Oslo?");
  await expect(page.getByRole("dialog")).toContainText("May weather connect?");
  await noViolations(page, "consent");
  await page.keyboard.press("Enter");
  await expect(lastReply(page)).toHaveText("I did not look.");
  await page.locator("summary", { hasText: "weather" }).press("Enter");
  await noViolations(page, "what was done");
  await page.keyboard.press("Control+.");
  await page.getByLabel("Plan first").press("Space");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Another reply" }).press("Enter");
  await expect(page.getByRole("dialog", { name: "The plan" })).toBeVisible();
  await noViolations(page, "plan");
  await page.getByRole("button", { name: "Change it" }).press("Enter");
  await noViolations(page, "plan to change");
  await page.keyboard.press("Escape");
  await expect(page.locator("article.reply").last()).toContainText("You declined the plan");
});

test("everything can be done from the keyboard", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("One two three four five six."), inPieces("Seven.")] });
  await openPage(page);
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await page.keyboard.type("Hello");
  await page.keyboard.press("Enter");
  await expect(lastReply(page)).toContainText("six.");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");

  /** Tabs until the focus is on what is called `name`. */
  const tabTo = async (name: RegExp | string, keys = "Tab") => {
    for (let n_tabs = 0; n_tabs < 60; n_tabs += 1) {
      await page.keyboard.press(keys);
      const label = await page.evaluate(() => {
        const at = document.activeElement;
        return at?.getAttribute("aria-label") ?? at?.textContent.trim() ?? "";
      });
      if (typeof name === "string" ? label === name : name.test(label)) return;
    }
    throw new Error(`no tab stop is called ${String(name)}`);
  };
  await tabTo("Tokens of this reply", "Shift+Tab");
  await page.keyboard.press("Space");
  await tabTo("Tokens of the reply", "Shift+Tab");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("option", { selected: true })).toHaveText(" three");
  await tabTo("Another reply");
  await page.keyboard.press("Enter");
  await expect(lastReply(page)).toHaveText("Seven.");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");

  await page.keyboard.press("Control+,");
  await tabTo("Precise");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Precise" })).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);

  await page.keyboard.press("Control+K");
  await tabTo("Rename Hello");
  await page.keyboard.press("Enter");
  await page.keyboard.type("Greeting");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("navigation").getByRole("button", { name: /^Greeting/ })).toBeVisible();
  await page.keyboard.press("Control+K");
  await tabTo("Delete Greeting");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("navigation")).toContainText("0 on this device");
});

test("text that runs from right to left does, and code in it does not", async ({ page }) => {
  await scriptEngine(page, { replies: [inPieces("שלום עולם, זה `code` כאן.\n\n```js\nlet a = 1;\n```")] });
  await openPage(page);
  await say(page, "مرحبا");
  const reply = lastReply(page);
  await expect(reply.locator("pre")).toBeVisible();
  const direction = (selector: string) => reply.locator(selector).evaluate((element) => getComputedStyle(element).direction);
  expect(await direction("p")).toBe("rtl");
  expect(await direction("pre")).toBe("ltr");
});
