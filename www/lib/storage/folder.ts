/** Where a model is -> a folder that the engine opens files of, by name. */
import { TandemError } from "../errors.ts";
import { fromBlob, type Files } from "./files.ts";
import { linkOf, listFiles, pickWeights } from "./hub.ts";
import type { ModelPlace } from "./place.ts";
import type { ReadableFile } from "./stored.ts";

/** A folder (`src/web/source.rs` calls these names). */
export interface ReadableFolder {
  /** What to call it in an error. */
  readonly name: string;
  /** The weights to open, where they are one file and not the whole folder. */
  readonly file: string | undefined;
  /** The names of its files; none where they cannot be listed. */
  list(): string[];
  open(name: string): Promise<ReadableFile | undefined>;
}

/** What the engine takes. */
export type ModelFiles = { files: readonly File[]; name?: string } | ReadableFolder;

export async function openModel(place: ModelPlace, files: Files): Promise<ModelFiles> {
  if ("files" in place) return place;
  if ("directory" in place) return openDirectory(place.directory);
  if ("hub" in place) {
    const listed = await listFiles(place, files.patience, files.signal);
    const weights = pickWeights(place, listed);
    const isFile = weights !== undefined && /\.(gguf|safetensors)$/i.test(weights);
    const folder = weights === undefined ? "" : isFile ? weights.slice(0, weights.lastIndexOf("/") + 1) : `${weights}/`;
    return {
      name: `${place.hub}${folder === "" ? "" : `/${folder.slice(0, -1)}`}`,
      file: isFile ? weights.slice(folder.length) : undefined,
      list: () => listed.filter(({ path }) => path.startsWith(folder)).map(({ path }) => path.slice(folder.length)),
      async open(name) {
        const known = listed.find(({ path }) => path === folder + name);
        return known && files.open(linkOf(place, known.path), known);
      },
    };
  }
  const { url, headers, sha256 } = place;
  const at = /[?#]/.exec(url)?.index ?? url.length;
  const [path, query] = [url.slice(0, at), url.slice(at).replace(/#.*/, "")];
  const last = path.slice(path.lastIndexOf("/") + 1);
  const file = /\.(gguf|safetensors)$/i.test(last) || !/^https?:/.test(path) ? last : undefined;
  const base = file === undefined ? path.replace(/\/+$/, "") : path.slice(0, path.lastIndexOf("/"));
  const decoded = file === undefined ? undefined : decode(file);
  return {
    name: base,
    file: decoded,
    list: () => [],
    open(name) {
      const parts = name.split("/").map(encodeURIComponent);
      if (parts.includes("..")) throw new TandemError("format_malformed", `${name}: leads out of the checkpoint's folder`);
      // As it was given, where it is the very file that was.
      const link = { url: name === decoded ? path + query : `${base}/${parts.join("/")}${query}`, ...(headers ? { headers } : {}) };
      return files.open(link, sha256 !== undefined && name === decoded ? { sha256: sha256.toLowerCase() } : undefined);
    },
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A folder that the person chose: its files are read as they are wanted. */
async function openDirectory(directory: FileSystemDirectoryHandle): Promise<ReadableFolder> {
  const found = new Map<string, FileSystemFileHandle>();
  const walk = async (folder: FileSystemDirectoryHandle, prefix: string, depth: number): Promise<void> => {
    for await (const [name, handle] of folder.entries()) {
      if (handle.kind === "file") found.set(prefix + name, handle);
      // `.git` and such hold copies of the weights.
      else if (depth > 0 && !name.startsWith(".")) await walk(handle, `${prefix}${name}/`, depth - 1);
    }
  };
  await walk(directory, "", 2);
  const ggufs = [...found.keys()].filter((name) => /\.gguf$/i.test(name)).sort();
  return {
    name: directory.name,
    file: found.has("config.json") ? undefined : ggufs[0],
    list: () => [...found.keys()],
    async open(name) {
      const handle = found.get(name);
      return handle && fromBlob(await handle.getFile());
    },
  };
}
