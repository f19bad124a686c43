import { expect, test } from "../../www/page-testing.ts";

test("C19: the page is isolated and may reach nobody that the policy does not name", async ({ page, complaints }) => {
  const response = await page.goto("");
  const headers = response?.headers() ?? {};
  expect(headers["cross-origin-opener-policy"]).toBe("same-origin");
  expect(headers["cross-origin-embedder-policy"]).toBe("require-corp");
  const policy = headers["content-security-policy"] ?? "";
  const rules = new Map(policy.split(";").map((rule) => [rule.trim().split(" ")[0] ?? "", rule.trim().split(" ").slice(1)]));
  for (const closed of ["default-src", "object-src", "base-uri", "form-action", "frame-ancestors"]) expect(rules.get(closed)).toEqual(["'none'"]);
  for (const own of ["style-src", "font-src", "frame-src"]) expect(rules.get(own)).toEqual(["'self'"]);
  expect(policy).not.toMatch(/unsafe-inline|'unsafe-eval'|\s\*|https:\s|http:\s/);
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
