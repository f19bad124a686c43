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
  });

  test(`what comes up now and then passes axe, ${colorScheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await scriptEngine(page, { replies: [inPieces(REPLY)] });
    await openPage(page);
    await say(page, "Hello");
    await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
    await lastReply(page).getByRole("link").click();
    await noViolations(page, "where a link leads");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+K");
    await page.keyboard.type("nowhere");
    await expect(page.getByRole("navigation")).toContainText("Nothing says");
    await noViolations(page, "nothing found");
    await page.getByLabel("Search conversations").fill("");
    await page.getByRole("button", { name: "Rename Hello" }).click();
    await noViolations(page, "rename");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Delete reply" }).click();
    await expect(page.getByRole("status")).toContainText("Reply deleted");
    await noViolations(page, "notice");
    const file = { name: "notes.gguf", mimeType: "", buffer: Buffer.from("these are not weights") };
    await page.evaluate(() => Object.assign(window, { loads_fail: true }));
    await page.getByLabel("Model files").setInputFiles(file);
    await expect(page.getByRole("alert")).toBeVisible();
    await noViolations(page, "problem");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.keyboard.press("Control+B");
    await noViolations(page, "drawer");
  });
}

for (const colorScheme of ["light", "dark"] as const) test(`what asks the person passes axe, and can be answered from the keyboard, ${colorScheme}`, async ({ page }) => {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
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

test("tools are allowed, plans changed and approved from the keyboard alone", async ({ page }) => {
  await page.route(/^https:/, (route) => route.fulfill({ json: { query: { pages: [{ title: "Oslo", extract: "A capital." }] } }, headers: { "Access-Control-Allow-Origin": "*" } }));
  const look = { calls: [{ name: "encyclopedia", arguments: { title: "Oslo" } }] };
  const plan = 'Plan: Look it up.\n#E1 = encyclopedia[{"title": "Oslo"}]';
  await scriptEngine(page, { tools: true, replies: [look, inPieces("It is a capital."), [plan], inPieces("So is this.")] });
  await openPage(page);
  const keys = async (...names: string[]) => {
    for (const name of names) await page.keyboard.press(name);
  };
  /** Presses a key until what has the focus is called `name`. */
  const until = async (name: RegExp, key = "Tab") => {
    await expect(async () => {
      await page.keyboard.press(key);
      const at = await page.evaluate(() => {
        const at = document.activeElement;
        const label = at instanceof HTMLInputElement ? at.labels?.[0]?.textContent : undefined;
        return (at?.getAttribute("aria-label") ?? label ?? at?.textContent ?? "").trim();
      });
      expect(at).toMatch(name);
    }).toPass({ intervals: [10] });
  };
  await page.keyboard.type("What is Oslo?");
  await keys("Enter");
  await expect(page.getByRole("dialog", { name: "May encyclopedia connect?" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Allow once" })).toBeEnabled();
  await until(/^Allow once$/);
  await keys("Enter");
  await expect(lastReply(page)).toHaveText("It is a capital.");
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await keys("Control+.");
  await until(/^As it goes/);
  await until(/^Plan first/, "ArrowDown");
  await keys("Escape");
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await page.keyboard.type("And Bergen?");
  await keys("Enter");
  const shown = page.getByRole("dialog", { name: "The plan" });
  await expect(shown).toBeVisible();
  await until(/^Change it$/);
  await keys("Enter");
  await until(/^title of step 1$/);
  await keys("Control+A");
  await page.keyboard.type("Bergen");
  await until(/^Show me this plan$/);
  await keys("Enter");
  await expect(shown).toContainText("titles=Bergen");
  await until(/^Approve$/);
  await keys("Enter");
  await expect(lastReply(page)).toHaveText("So is this.");
  await keys("Control+Shift+.");
  await expect(page.getByRole("dialog", { name: "What has left this machine" })).toContainText("titles=Bergen");
});

test("nothing moves where less motion is wanted", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await scriptEngine(page, { replies: [inPieces("word ".repeat(300))], pause_ms: 20 });
  await openPage(page);
  await say(page, "Go on");
  await expect(lastReply(page)).toContainText("word");
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  await page.emulateMedia({ reducedMotion: "no-preference" });
  await expect(page.locator('article[data-status="streaming"]')).toBeVisible();
});

test("on a phone nothing is wider than it", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const plan = 'Plan: Find the weather in a place with a long name.\n#E1 = weather[{"city": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"}]';
  const calls = [{ name: "weather", arguments: { city: "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" } }];
  await scriptEngine(page, { tools: true, replies: [inPieces(`${REPLY}\n\n${"long".repeat(60)}`), { calls }, inPieces("No."), [plan]] });
  await openPage(page);
  const fits = async (where: string) => {
    const wide = await page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll("dialog, main, header, form, nav")]
        .filter((element) => element.scrollWidth > Math.max(element.clientWidth, 390) || element.getBoundingClientRect().right > 390.5)
        .map((element) => `${element.tagName} ${element.scrollWidth}`),
    );
    expect.soft(wide, where).toEqual([]);
  };
  await fits("first");
  await say(page, "Hello");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
  await fits("conversation");
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  await fits("tokens");
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  for (const keys of ["Control+,", "Control+Shift+M", "Control+.", "Control+Shift+.", "Control+/"]) {
    await page.keyboard.press(keys);
    await expect(page.getByRole("dialog")).toBeVisible();
    await fits(keys);
    await page.keyboard.press("Escape");
    await expect(page.getByRole("dialog")).toHaveCount(0);
  }
  await say(page, "How is it there?");
  await expect(page.getByRole("dialog")).toContainText("May weather connect?");
  await fits("consent");
  await page.keyboard.press("Escape");
  await expect(lastReply(page)).toHaveText("No.");
  await page.locator("summary", { hasText: "weather" }).click();
  await fits("what was done");
  await page.keyboard.press("Control+.");
  await page.getByLabel("Plan first").check();
  await page.keyboard.press("Escape");
  await say(page, "And by plan?");
  await expect(page.getByRole("dialog", { name: "The plan" })).toBeVisible();
  await fits("plan");
  await page.getByRole("button", { name: "Change it" }).click();
  await fits("plan to change");
});

test("a panel opened the moment another closes stays open", async ({ page }) => {
  await scriptEngine(page, { replies: [] });
  await openPage(page);
  await page.keyboard.press("Control+,");
  await expect(page.getByRole("dialog", { name: "Settings" })).toBeVisible();
  // Both before the browser says that the first one was closed.
  await page.evaluate(async () => {
    const dialog = document.querySelector("dialog");
    const closed = new Promise((resolve) => dialog?.addEventListener("close", resolve));
    dialog?.close();
    window.dispatchEvent(new KeyboardEvent("keydown", { code: "Period", ctrlKey: true }));
    await closed;
  });
  await expect(page.getByRole("dialog", { name: "Tools" })).toBeVisible();
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
