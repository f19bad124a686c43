import { expect, test } from "../../www/page-testing.ts";

test("the page is isolated and may reach nobody that the policy does not name", async ({ page, complaints }) => {
  const response = await page.goto("");
  const headers = response?.headers() ?? {};
  expect(headers["cross-origin-opener-policy"]).toBe("same-origin");
  expect(headers["cross-origin-embedder-policy"]).toBe("require-corp");
  expect(headers["content-security-policy"]).toContain("default-src 'none'");
  expect(headers["permissions-policy"]).toContain("loopback-network=()");
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  const refused = await page.evaluate(() =>
    fetch("https://example.com/").then(
      () => "reached",
      (error: unknown) => String(error),
    ),
  );
  expect(refused).toContain("TypeError");
  expect(complaints.join()).toContain("connect-src");
  complaints.length = 0;
});
