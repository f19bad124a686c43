import type { ModelSource } from "./types.ts";

const HUB = "https://huggingface.co";

/**
 * What people paste, as the address of the bytes: a Hugging Face id (`owner/model`)
 * or a page of that site becomes the place where it serves the files.
 */
export function resolveSource(source: ModelSource): ModelSource {
  if (!("url" in source)) return source;
  return { url: resolveUrl(source.url) };
}

export function resolveUrl(text: string): string {
  if (/^[\w.-]+\/[\w.-]+$/.test(text)) return `${HUB}/${text}/resolve/main`;
  if (!URL.canParse(text)) return text; // the engine says what is wrong with it
  const url = new URL(text);
  if (url.origin !== HUB) return text;
  const [owner, model, kind, revision = "main", ...file] = url.pathname.split("/").filter(Boolean);
  if (!owner || !model) return text;
  if (kind === undefined) return `${HUB}/${owner}/${model}/resolve/main`;
  if (kind === "blob" || kind === "tree") return [HUB, owner, model, "resolve", revision, ...file].join("/");
  return text;
}
