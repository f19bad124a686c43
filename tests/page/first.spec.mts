/** Somebody's first minutes with the page, on the pair that ships. `TANDEM_SCREENSHOTS` names a
 * folder for pictures of each step (`docs/screenshots`). */
import { join } from "node:path";
import { expect, lastReply, openPage, realWeights, say, test, type Page } from "../../www/page-testing.ts";

const PICTURES = process.env["TANDEM_SCREENSHOTS"];
const WIDTHS = { 390: 844, 820: 1180, 1440: 900 };
const SCHEMES = ["light", "dark"] as const;

/** Pictures of what is in view, on every kind of screen. */
async function picture(page: Page, name: string): Promise<void> {
  if (!PICTURES) return;
  for (const [width, height] of Object.entries(WIDTHS)) {
    for (const colorScheme of SCHEMES) {
      await page.setViewportSize({ width: Number(width), height });
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const path = join(PICTURES, `${name}-${width}-${colorScheme}.jpg`);
      await page.screenshot({ path, quality: 82, type: "jpeg" });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

test("open, read one line, ask, see it go faster, ask for the weather, approve, be answered", async ({ page }) => {
  test.skip(!realWeights(), "shared: no weights in models/ or ../shared/data");
  test.setTimeout(90_000);
  const left: string[] = [];
  await page.route(/^https:/, (route) => {
    const url = route.request().url();
    left.push(url);
    const json = url.includes("/search")
      ? { results: [{ name: "Oslo", latitude: 59.91, longitude: 10.75 }] }
      : { current: { temperature_2m: 4.2, relative_humidity_2m: 81, weather_code: 61, wind_speed_10m: 12.1 } };
    return route.fulfill({ json, headers: { "Access-Control-Allow-Origin": "*" } });
  });
  // A model that draws by chance is held to nothing; nor is a planner, which guesses only where that
  // pays. Pictures show what the planner, which everybody has, makes of it.
  const speculation = PICTURES ? "auto" : "fixed";
  await page.addInitScript((speculation) => {
    // The sandbox's frames have no storage.
    if (window === window.top) localStorage.setItem("tandem-preferences", JSON.stringify({ usual: { temperature: 0, repetition_penalty: 1, speculation } }));
  }, speculation);
  await page.setViewportSize({ width: 1440, height: 900 });

  await openPage(page);
  await expect(page.getByRole("heading", { name: "A language model, inside this page" })).toBeVisible();
  await expect(page.getByText("nothing you write leaves this tab unless you allow it")).toBeVisible();
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await picture(page, "1-open");

  // A reply may be over before a test has looked twice: what is seen meanwhile is noted as it is.
  const gauge = page.waitForFunction(() => document.querySelector(".gauge")?.textContent.includes("tokens/s") ?? false);
  await say(page, "Tell me a story about a little dog.");
  await gauge;
  const reply = page.locator('article[data-role="assistant"]').last();
  await expect(reply).toHaveAttribute("data-status", "whole");
  await expect(lastReply(page)).toContainText("Once upon a time");
  await expect(reply).toContainText(/\d+ tokens · [\d.]+ tokens\/s/);
  await expect(reply).toContainText("of guesses right");
  await picture(page, "2-reply");
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  const tokens = page.getByRole("listbox", { name: "Tokens of the reply" });
  expect(await tokens.locator(".by-draft").count()).toBeGreaterThan(0);
  await tokens.getByRole("option").nth(9).hover();
  await picture(page, "3-tokens");
  await page.getByRole("button", { name: "Tokens of this reply" }).click();

  await page.keyboard.press("Control+Shift+O");
  await say(page, "What is the weather in Oslo?");
  const card = page.getByRole("dialog", { name: "May weather connect?" });
  await expect(card).toContainText("https://geocoding-api.open-meteo.com/v1/search?name=Oslo");
  expect(left).toEqual([]);
  await expect(card.getByRole("button", { name: "Allow once" })).toBeEnabled();
  await picture(page, "4-consent");
  await card.getByRole("button", { name: "Allow once" }).click();
  await expect(card).toContainText("https://api.open-meteo.com");
  await card.getByRole("button", { name: "Allow once" }).click();
  await expect(reply).toHaveAttribute("data-status", "whole");
  await expect(lastReply(page)).toContainText("4 °C");
  expect(left).toHaveLength(2);
  await page.getByRole("list", { name: "What was done" }).locator("summary").click();
  await picture(page, "5-answer");
});
