/** What people pass as a model -> where it is, in a form that crosses to the worker. */
import { TandemError } from "../errors.ts";
import type { HubModel, ModelSource } from "../types.ts";

export type ModelPlace =
  | { files: readonly File[]; name?: string }
  | { directory: FileSystemDirectoryHandle }
  | { url: string; headers?: Record<string, string>; sha256?: string }
  | HubModel;

export const HUB = "https://huggingface.co";

export function placeOf(source: ModelSource): ModelPlace {
  if (typeof source === "string" || source instanceof URL) return fromText(String(source));
  if (source instanceof Blob) {
    return { files: [source instanceof File ? source : new File([source], "model.gguf")] };
  }
  if ("kind" in source) return { directory: source };
  if ("hub" in source || "files" in source) return source;
  if ("url" in source) {
    const { url, ...rest } = source;
    const place = fromText(String(url));
    return "url" in place ? { ...place, ...rest } : place;
  }
  throw invalid("is neither files, nor a folder, nor an address");
}

/** A Hugging Face id, a page of that site, or the address of bytes. */
function fromText(text: string): ModelPlace {
  const id = /^([\w.-]+\/[\w.-]+)(?::([\w.-]+)|\/([^:?#]+\.(?:gguf|safetensors)))?$/i.exec(text);
  if (id?.[1] !== undefined) return hub(id[1], { quant: id[2], file: id[3] });
  if (!URL.canParse(text)) throw invalid(`${text} is no web address, and no owner/name of Hugging Face's`);
  const url = new URL(text);
  if (url.origin === HUB) {
    const [owner, model, kind, revision, ...path] = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
    const known = kind === undefined || kind === "blob" || kind === "tree" || kind === "resolve";
    if (owner !== undefined && model !== undefined && known && url.search === "") {
      return hub(`${owner}/${model}`, { revision, file: path.length > 0 ? path.join("/") : undefined });
    }
  }
  if (!/^(https?|blob|data):$/.test(url.protocol)) throw invalid(`${text} is no web address`);
  return { url: text };
}

type Picked = Record<"quant" | "file" | "revision", string | undefined>;

function hub(id: string, picked: Partial<Picked>): HubModel {
  const { quant, file, revision } = picked;
  return {
    hub: id,
    ...(quant === undefined ? {} : { quant }),
    ...(file === undefined ? {} : { file }),
    ...(revision === undefined ? {} : { revision }),
  };
}

function invalid(detail: string): TandemError {
  return new TandemError("request_invalid", `model: ${detail}`, { status: 400, type: "invalid_request_error", param: "model" });
}
