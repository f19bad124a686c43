/** This very setup as a program. */
import type { ModelChoice } from "../engine/choice.ts";
import { parseSchema, samplingOf, thinkingOf } from "./request.ts";
import type { Settings } from "./settings.ts";

/** TypeScript that asks as this page would. */
export function asCode(settings: Settings, choice: ModelChoice, said: string): string {
  const messages = [
    ...(settings.system.trim() ? [{ role: "system", content: settings.system }] : []),
    { role: "user", content: said || "Tell me a story about a dog." },
  ];
  const { max_tokens, ...sampling } = samplingOf({ ...settings, schema: hasSchema(settings) ? settings.schema : "" });
  const body = { messages, stream: true, max_tokens, ...sampling, ...thinkingOf(settings) };
  return [
    'import { Tandem } from "tandem-llm";',
    "",
    `const engine = await ${opening(choice)};`,
    `const stream = await engine.chat.completions.create(${literal(body)});`,
    "for await (const chunk of stream) {",
    '  document.body.append(chunk.choices[0]?.delta.content ?? "");',
    "}",
    "const { speculation } = await stream.final();",
    "console.log(`${speculation.speedup ?? 1} times as fast as without guessing`);",
    "",
  ].join("\n");
}

function hasSchema({ schema }: Settings): boolean {
  try {
    return Object.keys(parseSchema(schema)).length > 0;
  } catch {
    return false;
  }
}

function opening({ source, draft, device }: ModelChoice): string {
  if (source.kind === "server") {
    return `Tandem.connect(${literal({ baseURL: source.url, ...(source.model ? { model: source.model } : {}) })})`;
  }
  const options = {
    ...(source.kind === "address" ? { target: { url: source.url } } : {}),
    ...(draft ? { draft: { url: draft } } : {}),
    ...(device === "auto" ? {} : { device }),
  };
  const files = source.kind === "files" ? "  // target: { files } as a file input gives them\n" : "";
  if (Object.keys(options).length === 0) return files ? `Tandem.load({\n${files}})` : "Tandem.load()";
  return `Tandem.load(${literal(options).replace(/^\{\n/, `{\n${files}`)})`;
}

/** JSON, with names unquoted where they need no quotes. */
function literal(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(/^(\s*)"([A-Za-z_]\w*)":/gm, "$1$2:");
}
