/**
 * The pair that ships, in Chromium, on the questions of agent_prompts.json by every
 * strategy (what it needs: testing_page.mjs):
 *
 *     TANDEM_CHROMIUM=/usr/bin/chromium node tests/measure/agents.mjs [LIMIT]
 *
 * The tools are the page's own; each question knows what its tool says.
 */
import { readFileSync } from "node:fs";
import { openTestingPage } from "./testing_page.mjs";

const [limit = "60"] = process.argv.slice(2);
const all = JSON.parse(readFileSync(new URL("agent_prompts.json", import.meta.url), "utf8"));
// A smaller limit takes as many of each tool.
const every = Math.max(1, Math.round(all.length / Number(limit)));
const prompts = all.filter((_, i) => i % every === 0);
const { page, close } = await openTestingPage();
for (const strategy of ["tools", "react", "rewoo"]) {
  const found = await page.evaluate(
    async ({ strategy, prompts }) => {
      const { engine } = window.testing;
      const string = { type: "string" };
      const declared = {
        calculator: ["Work out an arithmetic expression", { expression: string }],
        clock: ["Current date and time in an IANA time zone", { timezone: string }],
        convert: ["Convert a value from one unit to another", { value: { type: "number" }, from: string, to: string }],
        weather: ["Current weather in a city", { city: string }],
        encyclopedia: ["The first paragraph of an encyclopedia article", { title: string }],
      };
      const plain = (value) => JSON.stringify(value).toLowerCase().replace(/\s/g, "");
      const words = (text) => (text.toLowerCase().match(/[\p{L}\p{N}.:-]+/gu) ?? []).map((w) => w.replace(/^[.:-]+|[.:-]+$/g, "")).filter((w) => w.length >= 5 || /\d/.test(w));
      const sum = { questions: 0, right_tool: 0, right_call: 0, answered: 0, right_answer: 0, steps: 0, tokens: 0, drafted: 0, accepted: 0 };
      const by_tool = {};
      const began = performance.now();
      for (const prompt of prompts) {
        let right = false;
        let right_tool = false;
        const tools = Object.entries(declared).map(([name, [description, properties]]) => ({
          name,
          description,
          parameters: { type: "object", properties, required: Object.keys(properties) },
          run: (args) => {
            right_tool ||= name === prompt.tool;
            if (name !== prompt.tool || plain(args) !== plain(prompt.arguments)) throw new Error("nothing was found");
            right = true;
            return prompt.result;
          },
        }));
        const result = await engine.agent.run({
          messages: [{ role: "user", content: prompt.ask }],
          tools,
          strategy,
          request: { temperature: 0, max_tokens: 200 },
          budget: { max_steps: 5 },
          approve: () => true,
          onStep: ({ kind, speculation }) => {
            if (kind !== "model") return;
            sum.drafted += speculation?.num_draft_tokens ?? 0;
            sum.accepted += speculation?.num_accepted_tokens ?? 0;
          },
        });
        sum.questions++;
        sum.steps += result.n_steps;
        sum.tokens += result.n_tokens;
        sum.right_tool += right_tool ? 1 : 0;
        sum.right_call += right ? 1 : 0;
        sum.answered += result.ending === "answered" ? 1 : 0;
        const said = words(result.answer ?? "");
        const good = right && words(prompt.answer).every((word) => said.includes(word));
        sum.right_answer += good ? 1 : 0;
        const tool = (by_tool[prompt.tool] ??= [0, 0, 0]);
        tool[0]++;
        tool[1] += right ? 1 : 0;
        tool[2] += good ? 1 : 0;
      }
      return { ...sum, by_tool, took_s: Math.round((performance.now() - began) / 1000) };
    },
    { strategy, prompts },
  );
  console.log(JSON.stringify({ strategy, ...found }));
}
await close();
