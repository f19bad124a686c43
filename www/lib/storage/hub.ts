/** Hugging Face's repositories: what is in one, and which of it to load. */
import { TandemError } from "../errors.ts";
import type { HubModel } from "../types.ts";
import { readWhole, type Link, type Patience } from "./download.ts";
import { HUB } from "./place.ts";
import { recall, remember } from "./store.ts";

/** A file of a repository. */
export interface HubFile {
  path: string;
  size_bytes: number;
  /** Published for large files. */
  sha256: string | null;
}

/** All files of a repository. Without a network, as they were when they were last seen. */
export async function listFiles(model: HubModel, patience: Patience, signal: AbortSignal): Promise<HubFile[]> {
  const { hub, revision = "main", endpoint = HUB } = model;
  const url = `${endpoint}/api/models/${hub}/tree/${encodeURIComponent(revision)}?recursive=true`;
  let text = "";
  try {
    await readWhole({ url, ...authorisation(model) }, undefined, patience, signal, async (body) => {
      const decoder = new TextDecoder();
      text = "";
      for await (const piece of body) text += decoder.decode(piece, { stream: true });
    });
    const files = parse(hub, text);
    await remember("hub", url, text);
    return files;
  } catch (error) {
    const stored = signal.aborted ? undefined : await recall("hub", url);
    if (stored === undefined) throw error;
    return parse(hub, stored);
  }
}

function parse(hub: string, text: string): HubFile[] {
  const invalid = () => new TandemError("source_unreadable", `${hub}: the hub's list of files is not understood`);
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw invalid();
  }
  if (!Array.isArray(found)) throw invalid();
  return found.flatMap((entry: { type?: unknown; path?: unknown; size?: unknown; lfs?: { oid?: unknown } | null } | null) => {
    if (entry?.type !== "file" || typeof entry.path !== "string" || typeof entry.size !== "number") return [];
    const oid = entry.lfs?.oid;
    const sha256 = typeof oid === "string" && /^[0-9a-f]{64}$/.test(oid) ? oid : null;
    return [{ path: entry.path, size_bytes: entry.size, sha256 }];
  });
}

/** Where a file's bytes are. */
export function linkOf(model: HubModel, path: string): Link {
  const { hub, revision = "main", endpoint = HUB } = model;
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return { url: `${endpoint}/${hub}/resolve/${encodeURIComponent(revision)}/${encoded}`, ...authorisation(model) };
}

function authorisation({ token }: HubModel): Pick<Link, "headers"> {
  return token === undefined || token === "" ? {} : { headers: { authorization: `Bearer ${token}` } };
}

/** Sizes that most people mean, in this order, where nothing was said. */
const PREFERRED = ["Q4_K_M", "Q8_0", "Q4_K_S", "Q5_K_M", "Q4_0", "Q6_K", "Q5_0", "BF16", "F16"];

/** The weights to open: a file's path, or undefined for the folder as a whole. */
export function pickWeights(model: HubModel, files: readonly HubFile[]): string | undefined {
  const { hub, file, quant } = model;
  const missing = (what: string) => {
    const some = weights.map(({ path }) => path).slice(0, 12);
    return new TandemError("file_missing", `${hub}: has no ${what}; ${some.join(", ") || "nor any weights"}`);
  };
  // Of weights in parts the first stands for all; projectors of images are no models.
  const isWhole = ({ path }: HubFile) => !/-\d{5}-of-\d{5}\.gguf$/i.test(path) || /-00001-of-\d{5}\.gguf$/i.test(path);
  const weights = files.filter((each) => /\.gguf$/i.test(each.path) && isWhole(each) && !/mmproj/i.test(each.path));
  if (file !== undefined) {
    if (/\.(gguf|safetensors)$/i.test(file) && !files.some(({ path }) => path === file)) throw missing(file);
    return file;
  }
  const named = (quant: string) => {
    const words = new RegExp(`(^|[^a-z0-9])${quant.replaceAll(/[^\w]/g, "\\$&")}($|[^a-z0-9_])`, "i");
    return weights.find(({ path }) => words.test(path))?.path;
  };
  if (quant !== undefined) {
    const found = named(quant);
    if (found === undefined) throw missing(quant);
    return found;
  }
  if (files.some(({ path }) => path === "config.json") && files.some(({ path }) => path.endsWith(".safetensors"))) return undefined;
  for (const quant of PREFERRED) {
    const found = named(quant);
    if (found !== undefined) return found;
  }
  const smallest = weights.toSorted((a, b) => a.size_bytes - b.size_bytes)[0];
  if (!smallest) throw missing("weights that can be read");
  return smallest.path;
}
