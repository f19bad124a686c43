/** Which model the person chose, as it can be remembered and told again. */
import type { Device, LoadOptions, ModelSource } from "tandem-llm";

export type ChosenSource =
  /** The pair that ships with the page. */
  | { kind: "embedded" }
  /** Files of the person's: gone with the tab. */
  | { kind: "files"; files: readonly File[]; name: string }
  /** A file's or a folder's address, or a Hugging Face id. */
  | { kind: "address"; url: string }
  /** A server with OpenAI's interface. Its key lasts as long as the page. */
  | { kind: "server"; url: string; model: string; key: string };

export interface ModelChoice {
  source: ChosenSource;
  /** The address of a draft model, where one was named. */
  draft: string;
  device: Device;
  /** Most memory that the models may take; as much as there is where it is not given. */
  budget_bytes?: number;
}

export const EMBEDDED: ModelChoice = { source: { kind: "embedded" }, draft: "", device: "auto" };

/** What `Tandem.load` is to be given. */
export function loadOptionsOf({ source, draft, device, budget_bytes }: ModelChoice): LoadOptions {
  const target: ModelSource | undefined =
    source.kind === "address" ? { url: source.url } : source.kind === "files" ? filesOf(source) : undefined;
  return {
    device,
    ...(budget_bytes === undefined ? {} : { memoryBudgetBytes: budget_bytes }),
    ...(target ? { target } : {}),
    ...(draft && target ? { draft: { url: draft } } : {}),
  };
}

function filesOf({ files, name }: { files: readonly File[]; name: string }): ModelSource {
  return { files, ...(name ? { name } : {}) };
}

/** Where a model's files are asked for, its own and its draft model's; nowhere where they are
 * here already. */
export function askedFrom({ source, draft }: ModelChoice): readonly string[] {
  if (source.kind !== "address") return [];
  const addresses = draft ? [source.url, draft] : [source.url];
  return addresses.map((address) => (URL.canParse(address) ? address : `https://huggingface.co/${address}`));
}

/** The choice in a word or two. */
export function nameOf({ source }: ModelChoice): string {
  if (source.kind === "embedded") return "the built-in pair";
  if (source.kind === "server") return new URL(source.url).host;
  return source.kind === "address" ? source.url : source.name || (source.files[0]?.name ?? "your files");
}

/** A model's name as people would say it: of an address its last part, without what says
 * only how it is stored. */
export function spoken(name: string, choice?: ModelChoice): string {
  if (choice?.source.kind === "embedded") return name.includes("draft") ? "Tandem draft" : "Tandem target";
  const last = name.split(/[/\\]/).findLast((part) => part !== "") ?? name;
  return last.replace(/\.(gguf|safetensors)$/i, "");
}
