/** The tools there are: those that ship, and the person's own. */
import type { AgentTool, Capabilities, Tandem, ToolManifest } from "tandem-llm";
import type { Settings } from "../settings/settings.ts";

const KEY = "tandem-tools";
/** A manifest with its code; more than this is no tool but a program. */
const MAX_CHARS = 200_000;

/** What is told of a tool before its code is needed. */
export interface ToolInfo {
  name: string;
  about: string;
  /** Where it may connect to; empty for nowhere. */
  origins: readonly string[];
  own: boolean;
}

/** Those that ship; `sandbox/tools` has them whole, and is loaded when one is called for. */
const SHIPPED: readonly (ToolInfo & { usual: boolean })[] = [
  { name: "calculator", about: "Works out sums", origins: [], own: false, usual: true },
  { name: "clock", about: "Date and time anywhere", origins: [], own: false, usual: true },
  { name: "convert", about: "Turns one unit into another", origins: [], own: false, usual: true },
  {
    name: "weather",
    about: "The weather in a city now",
    origins: ["https://geocoding-api.open-meteo.com", "https://api.open-meteo.com"],
    own: false,
    usual: true,
  },
  { name: "encyclopedia", about: "The beginning of an article in Wikipedia", origins: ["https://en.wikipedia.org"], own: false, usual: true },
  { name: "web_page", about: "The text of a page, where its site allows that", origins: ["*"], own: false, usual: false },
];

const USUAL: readonly string[] = SHIPPED.filter(({ usual }) => usual).map(({ name }) => name);

export class Toolbox {
  /** The person's own, as they gave them. */
  own = $state.raw<readonly ToolManifest[]>([]);
  readonly all = $derived<readonly ToolInfo[]>([...SHIPPED, ...this.own.map(infoOf)]);

  constructor() {
    this.own = read();
  }

  /** The names of a conversation's tools. Where nobody chose, a model has them that was made
   * for tools; the others would only be confused. */
  chosen({ tools }: Settings, model: Capabilities | undefined): readonly string[] {
    if (!model?.has_chat_template) return [];
    if (tools === null) return model.tool_calls === "generic" || model.tool_calls === "server" ? [] : USUAL;
    return this.all.map(({ name }) => name).filter((name) => tools.includes(name));
  }

  /** Tools by name, ready to run. */
  async named(names: readonly string[]): Promise<AgentTool[]> {
    const { shippedTools } = await import("../../sandbox/tools/index.ts");
    const all = [...(await shippedTools()), ...this.own];
    return all.filter(({ name }) => names.includes(name));
  }

  /**
   * Adds a tool of the person's own, or puts it in place of theirs of the same name.
   *
   * @throws {Error} saying what is wrong with it; the engine checks all that it would hold a
   * tool to.
   */
  async add(text: string, engine: Tandem): Promise<ToolManifest> {
    if (text.length > MAX_CHARS) throw new Error(`a tool may have ${MAX_CHARS} characters`);
    const manifest = JSON.parse(text) as ToolManifest;
    if (SHIPPED.some(({ name }) => name === manifest.name)) throw new Error(`${manifest.name} is the name of a tool that ships`);
    if (typeof manifest.code !== "string") throw new Error("code is missing: what runs in the sandbox");
    // A run that is stopped before it begins: what is wrong with its tools is told first.
    await engine.agent.run({ messages: [{ role: "user", content: "-" }], tools: [manifest], signal: AbortSignal.abort() });
    this.own = [...this.own.filter(({ name }) => name !== manifest.name), manifest];
    write(this.own);
    return manifest;
  }

  remove(name: string): void {
    this.own = this.own.filter((tool) => tool.name !== name);
    write(this.own);
  }
}

function infoOf({ name, description, origins = [] }: ToolManifest): ToolInfo {
  return { name, about: description, origins, own: true };
}

function read(): ToolManifest[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    if (!Array.isArray(stored)) return [];
    // They were checked when they came, and are again when a run begins.
    return (stored as Partial<ToolManifest>[]).filter((tool): tool is ToolManifest => typeof tool.name === "string");
  } catch {
    return [];
  }
}

function write(tools: readonly ToolManifest[]): void {
  localStorage.setItem(KEY, JSON.stringify(tools));
}

/** What a manifest looks like: a tool that needs no network. */
export const EXAMPLE = JSON.stringify(
  {
    name: "dice",
    description: "Throws a die",
    parameters: { type: "object", properties: { sides: { type: "integer", minimum: 2, maximum: 100 } }, required: ["sides"] },
    code: "self.tool = ({ sides }) => 1 + Math.floor(Math.random() * sides);",
  },
  null,
  2,
);
