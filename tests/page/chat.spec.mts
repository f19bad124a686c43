import { expect, lastReply, loadRealWeights, say, test } from "../../www/page-testing.ts";

test("a prompt is answered, piece by piece", async ({ page }) => {
  await loadRealWeights(page);
  await say(page, "Once upon a time");
  const reply = lastReply(page);
  await expect(reply).not.toBeEmpty();
  // It grows: that is what streaming means.
  const first = (await reply.textContent()) ?? "";
  await expect.poll(async () => ((await reply.textContent()) ?? "").length).toBeGreaterThan(first.length);
  await expect(page.getByText(/tokens · .* tokens\/s/)).toBeVisible({ timeout: 150_000 });
  // Words, not bytes.
  await expect(reply).toHaveText(/\b[a-z]{2,} [a-z]{2,}\b/i);
});

test("Esc stops a reply and the next one begins", async ({ page }) => {
  await loadRealWeights(page);
  await say(page, "Once upon a time");
  await expect(lastReply(page)).not.toBeEmpty();
  await page.keyboard.press("Escape");
  await expect(page.getByText("stopped", { exact: true })).toBeVisible();
  const stopped = await lastReply(page).textContent();
  await page.waitForTimeout(500);
  expect(await lastReply(page).textContent()).toBe(stopped);
  await say(page, "The dog");
  await expect(page.locator('[data-role="assistant"]')).toHaveCount(2);
  await expect(lastReply(page)).not.toBeEmpty();
});

test("the page is drawn and written in before anything of the engine has come", async ({ page }) => {
  // The engine and its models never come; neither does what the first paint has no need of.
  const held: string[] = [];
  await page.route(/\.wasm|\.gguf|worker-/, (route) => void held.push(route.request().url()));
  await page.goto("");
  await expect(page.getByRole("heading", { name: "A language model, inside this page" })).toBeVisible();
  const painted_ms = await page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        new PerformanceObserver((list) => {
          for (const { name, startTime } of list.getEntries()) if (name === "first-contentful-paint") resolve(startTime);
        }).observe({ type: "paint", buffered: true });
      }),
  );
  console.log(`first contentful paint: ${painted_ms.toFixed(0)} ms`);
  await expect.poll(() => held.length).toBeGreaterThan(0);
  await page.getByLabel("Message", { exact: true }).fill("Written while it loads");
  await expect(page.locator('[data-engine="loading"]')).toBeVisible();
  // What has to be there before it is drawn: the page, its style and its script, all from here.
  const needed = await page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .filter((entry) => (entry as PerformanceResourceTiming & { renderBlockingStatus?: string }).renderBlockingStatus === "blocking")
      .map(({ name }) => new URL(name).pathname.replace(/-[\w-]{8}\./, ".")),
  );
  expect(needed.every((name) => name.endsWith(".css"))).toBe(true);
  expect(needed.length).toBeLessThanOrEqual(1);
});

test("the page answers while the engine works", async ({ page }) => {
  await loadRealWeights(page);
  await say(page, "Once upon a time");
  await expect(lastReply(page)).not.toBeEmpty();
  // The longest time that a timer of the page had to wait, while a reply streams.
  const worst_ms = await page.evaluate(async () => {
    let worst = 0;
    for (let i = 0; i < 40; i += 1) {
      const before = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 10));
      worst = Math.max(worst, performance.now() - before - 10);
    }
    return worst;
  });
  expect(worst_ms).toBeLessThan(500);
});
