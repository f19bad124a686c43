/** Tools in the page: what the person is shown, what leaves, and what is kept. The model says
 * what the script says; the engine's policy is the real one. */
import type { Route } from "../../www/node_modules/@playwright/test/index.js";
import { expect, lastReply, openPage, say, test, type Page } from "../../www/page-testing.ts";
import { asked, inPieces, scriptEngine } from "./scripted.mts";

/** What is answered in the place of the tools' servers; what was asked is written down. */
async function serveTools(page: Page, extract = "Oslo is the capital of Norway."): Promise<string[]> {
  const hits: string[] = [];
  await page.route(/^https:/, (route: Route) => {
    const url = route.request().url();
    hits.push(url);
    const json = url.includes("/v1/search")
      ? { results: [{ name: "Oslo", latitude: 59.91, longitude: 10.75 }] }
      : url.includes("wikipedia")
        ? { query: { pages: [{ title: "Oslo", extract }] } }
        : { current: { temperature_2m: 4.2, relative_humidity_2m: 81, weather_code: 61, wind_speed_10m: 12.1 } };
    return route.fulfill({ json, headers: { "Access-Control-Allow-Origin": "*" } });
  });
  return hits;
}

const WEATHER = { calls: [{ name: "weather", arguments: { city: "Oslo" } }] };
const whole = (page: Page) => expect(page.locator('article[data-role="assistant"]').last()).toHaveAttribute("data-status", "whole");
const card = (page: Page) => page.getByRole("dialog", { name: /^May / });

async function choose(page: Page, strategy: string): Promise<void> {
  await page.keyboard.press("Control+.");
  await page.getByLabel(strategy).check();
  await page.keyboard.press("Escape");
}

test("a tool's request is shown as it will be sent, and leaves only when the person says so", async ({ page }) => {
  const hits = await serveTools(page);
  await scriptEngine(page, { tools: true, replies: [WEATHER, inPieces("It is 4 °C in Oslo, with light rain.")] });
  await openPage(page);
  await say(page, "What is the weather in Oslo?");
  await expect(card(page)).toContainText("https://geocoding-api.open-meteo.com/v1/search?name=Oslo");
  await expect(card(page).getByRole("button", { name: "Deny" })).toBeFocused();
  await expect(card(page)).toContainText("you");
  expect(hits).toEqual([]);
  await card(page).getByRole("button", { name: "Allow once" }).click();
  await expect(card(page)).toContainText("https://api.open-meteo.com/v1/forecast?latitude=59.91");
  expect(hits).toHaveLength(1);
  await card(page).getByRole("button", { name: "Allow once" }).click();
  await whole(page);
  await expect(lastReply(page)).toHaveText("It is 4 °C in Oslo, with light rain.");
  expect(hits).toHaveLength(2);
  const done = page.getByRole("list", { name: "What was done" });
  await done.getByText("weather", { exact: true }).click();
  await expect(done.getByRole("region", { name: "What weather found" })).toContainText('"conditions": "light rain"');
  await expect(done).toContainText("went, as you allowed");

  // Everything that left stands in the log, also after a reload, and with the conversation.
  await page.reload();
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("weather");
  await page.keyboard.press("Control+Shift+.");
  await expect(page.getByRole("dialog")).toContainText("geocoding-api.open-meteo.com");
  await expect(page.getByRole("dialog").getByText(/200, /)).toHaveCount(2);
});

test("no means no: nothing leaves, and the model is told", async ({ page }) => {
  const hits = await serveTools(page);
  await scriptEngine(page, { tools: true, replies: [WEATHER, inPieces("I could not look.")] });
  await openPage(page);
  await say(page, "What is the weather in Oslo?");
  await expect(card(page)).toBeVisible();
  await page.keyboard.press("Escape");
  await whole(page);
  expect(hits).toEqual([]);
  const last = (await asked(page)).at(-1);
  expect(JSON.stringify(last?.messages)).toContain("declined");
  await page.getByRole("list", { name: "What was done" }).getByText("weather", { exact: true }).click();
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("you said no");
  await page.keyboard.press("Control+Shift+.");
  await expect(page.getByRole("dialog")).toContainText("Nothing yet.");
});

test("always is for a tool at an origin, in this conversation and no other", async ({ page }) => {
  const hits = await serveTools(page);
  await scriptEngine(page, { tools: true, replies: [WEATHER, inPieces("Cold."), WEATHER, inPieces("Cold."), WEATHER, inPieces("Cold.")] });
  await openPage(page);
  await say(page, "What is the weather in Oslo?");
  await card(page).getByRole("button", { name: "Always, here" }).click();
  await card(page).getByRole("button", { name: "Always, here" }).click();
  await whole(page);
  await page.keyboard.press("Control+Shift+O");
  await say(page, "What is the weather in Oslo?");
  await expect(card(page)).toBeVisible();
  expect(hits).toHaveLength(2);
  await card(page).getByRole("button", { name: "Deny" }).click();
  await whole(page);
});

test("a plan is approved before anything of it is done", async ({ page }) => {
  const hits = await serveTools(page);
  const plan = 'Plan: Find the weather.\n#E1 = weather[{"city": "Oslo"}]\nPlan: Read about it.\n#E2 = encyclopedia[{"title": "Oslo"}]';
  await scriptEngine(page, { tools: true, replies: [[plan], inPieces("Oslo is cold."), [plan], inPieces("Oslo is a capital."), [plan]] });
  await openPage(page);
  await choose(page, "Plan first");
  const shown = page.getByRole("dialog", { name: "The plan" });

  // Declined: nothing of it happens.
  await say(page, "How is Oslo?");
  await expect(shown).toContainText("https://geocoding-api.open-meteo.com/v1/search?name=Oslo");
  await expect(shown).toContainText("latitude={latitude}");
  await expect(shown.getByRole("button", { name: "Decline" })).toBeFocused();
  await shown.getByRole("button", { name: "Decline" }).click();
  await expect(page.locator('article[data-role="assistant"]')).toContainText("You declined the plan");
  expect(hits).toEqual([]);

  // Changed: a step less, another word; it is shown once more, and then it is what is done.
  await page.getByRole("button", { name: "Another reply" }).click();
  await expect(shown).toBeVisible();
  await shown.getByRole("button", { name: "Change it" }).click();
  await shown.getByRole("button", { name: "Leave this step out" }).first().click();
  await shown.getByLabel("title of step 1").fill("Bergen");
  await shown.getByRole("button", { name: "Show me this plan" }).click();
  await expect(shown).toContainText("titles=Bergen");
  await expect(shown).not.toContainText("open-meteo");
  expect(hits).toEqual([]);
  await shown.getByRole("button", { name: "Approve" }).click();
  await whole(page);
  expect(hits).toEqual([expect.stringMatching(/titles=Bergen$/) as unknown]);
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("You approved the plan");
});

test("thoughts, actions and observations end in an answer alone", async ({ page }) => {
  const act = 'Thought: I count.\nAction: calculator\nAction Input: {"expression": "17 + 25"}';
  await scriptEngine(page, { tools: true, replies: [[act], ["Thought: I know the answer.\nFinal Answer: It is 42."]] });
  await openPage(page);
  await choose(page, "Step by step");
  await say(page, "What is 17 plus 25?");
  await whole(page);
  await expect(lastReply(page)).toHaveText("It is 42.");
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("calculator");
});

const HOSTILE =
  "<img src=https://evil.example/x onerror=\"document.title='ran'\"><script>document.title='ran'</script> ![a](https://evil.example/leak) \u202Egnp.exe </details></pre><style>*{background:url(https://evil.example/y)}</style>";

test("what a tool found is shown as the characters it is, whatever they are", async ({ page }) => {
  const hits = await serveTools(page, HOSTILE);
  const look = (title: string) => ({ calls: [{ name: "encyclopedia", arguments: { title } }] });
  await scriptEngine(page, { tools: true, replies: [look("Oslo"), inPieces("Done."), look("my secret"), inPieces("Done.")] });
  await openPage(page);
  await say(page, "Look Oslo up");
  await card(page).getByRole("button", { name: "Allow once" }).click();
  await whole(page);
  const done = page.getByRole("list", { name: "What was done" });
  await done.getByText("encyclopedia", { exact: true }).click();
  await expect(done.getByRole("region")).toContainText("<script>document.title='ran'</script>");
  expect(await done.locator("img, script, style, a").count()).toBe(0);
  await page.waitForTimeout(300);
  expect(hits.filter((url) => url.includes("evil.example"))).toEqual([]);
  expect(await page.title()).toBe("Look Oslo up · Tandem");

  // After that the person is told why to look twice at what the model makes up.
  await say(page, "Thank you");
  await expect(card(page)).toContainText("titles=my%20secret");
  await expect(card(page)).toContainText("text that somebody else wrote");
  await card(page).getByRole("button", { name: "Deny" }).click();
  await whole(page);
});

test("a run goes out with its conversation and comes back, without what was allowed", async ({ page }) => {
  const hits = await serveTools(page);
  await scriptEngine(page, { tools: true, replies: [WEATHER, inPieces("Cold."), WEATHER, inPieces("Cold.")] });
  await openPage(page);
  await say(page, "What is the weather in Oslo?");
  await card(page).getByRole("button", { name: "Always, here" }).click();
  await card(page).getByRole("button", { name: "Always, here" }).click();
  await whole(page);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: /^Export/ }).first().click();
  const path = await (await download).path();
  const picker = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Import conversations" }).click();
  await (await picker).setFiles(path);
  await expect(page.getByRole("navigation")).toContainText("2 on this device");
  await page.getByRole("navigation").getByRole("button", { name: /^What is the weather/ }).first().click();
  await expect(page.getByRole("list", { name: "What was done" })).toContainText("weather");
  const held = hits.length;
  await say(page, "And now?");
  await expect(card(page)).toBeVisible();
  expect(hits).toHaveLength(held);
  await page.keyboard.press("Escape");
  await whole(page);
});

test("a tool of one's own is checked, kept, used and removed", async ({ page }) => {
  await scriptEngine(page, { tools: true, replies: [{ calls: [{ name: "shout", arguments: { text: "hello" } }] }, inPieces("It said HELLO.")] });
  await openPage(page);
  const manifest = {
    name: "shout",
    description: "Says it louder",
    parameters: { type: "object", properties: { text: { type: "string", maxLength: 40 } }, required: ["text"] },
    code: "self.tool = ({ text }) => text.toUpperCase();",
  };
  await page.keyboard.press("Control+.");
  const panel = page.getByRole("dialog", { name: "Tools" });
  const field = panel.getByLabel(/manifest/);
  await field.fill(JSON.stringify({ ...manifest, origins: ["http://example.com"] }));
  await panel.getByRole("button", { name: "Add it" }).click();
  await expect(panel.getByRole("alert")).toContainText("origins");
  await field.fill(JSON.stringify(manifest));
  await panel.getByRole("button", { name: "Add it" }).click();
  await expect(panel.getByRole("checkbox", { name: /^shout/ })).toBeChecked();
  await page.keyboard.press("Escape");
  await say(page, "Shout hello");
  await whole(page);
  await page.getByRole("list", { name: "What was done" }).getByText("shout", { exact: true }).click();
  await expect(page.getByRole("region", { name: "What shout found" })).toHaveText("HELLO");
  await page.reload();
  await page.keyboard.press("Control+.");
  await panel.getByRole("button", { name: "Remove shout" }).click();
  await expect(panel.getByRole("checkbox", { name: /^shout/ })).toHaveCount(0);
});

test("stopped while it asks, a run is over and asks no more", async ({ page }) => {
  const hits = await serveTools(page);
  await scriptEngine(page, { tools: true, replies: [WEATHER, inPieces("Cold.")] });
  await openPage(page);
  await say(page, "What is the weather in Oslo?");
  await expect(card(page)).toBeVisible();
  // Another tab's page, a reload: nobody waits for an answer any more.
  await page.reload();
  await expect(card(page)).toHaveCount(0);
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "interrupted");
  await expect(page.getByText("What is the weather in Oslo?").last()).toBeVisible();
  expect(hits).toEqual([]);
});
