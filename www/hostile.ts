/**
 * A server for the specs in `tests/page`: the library's test page, and files that it serves
 * as badly as it is told to. Everything hangs on `seed`.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const SITE = join(import.meta.dirname, "dist");

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** How often, out of 1, something goes wrong with an answer. */
export interface Evil {
  /** The connection ends somewhere. */
  drop: number;
  /** Nothing comes any more. */
  stall: number;
  /** `Content-Length` promises more than there is, or a range is shorter than asked for. */
  lie: number;
  /** The whole file comes instead of a range. */
  ignore: number;
  /** Another range than was asked for. */
  shift: number;
  /** More than was asked for. */
  overrun: number;
  /** 503. */
  refuse: number;
}

export const GOOD: Evil = { drop: 0, stall: 0, lie: 0, ignore: 0, shift: 0, overrun: 0, refuse: 0 };

export class HostileServer {
  url = "";
  evil: Evil = GOOD;
  /** Milliseconds for each 16 KiB. */
  pace_ms = 0;
  /** Whether ranges are served at all. */
  ranges = true;
  /** Sent in `X-Linked-ETag`. */
  published: string | undefined;
  bytes: Buffer;
  etag = '"one"';
  /** Bytes of the file that were sent, and in answer to how many requests. */
  sent_bytes = 0;
  requests = 0;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #state: number;

  constructor(bytes: Buffer, seed = 1) {
    this.bytes = bytes;
    this.#state = seed;
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** A number from 0 to 1 (xorshift). */
  chance(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) / 2 ** 32;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", this.url).pathname;
    if (path.startsWith("/files/")) {
      if (path === "/files/model.gguf") await this.#file(request, response);
      else response.writeHead(404).end();
      return;
    }
    await sendFile(SITE, path, false, response);
  }

  async #file(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    const size = this.bytes.length;
    const asked = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const happens = (what: keyof Evil) => this.chance() < this.evil[what];
    if (happens("refuse")) {
      response.writeHead(503, { "retry-after": "0" }).end("later");
      return;
    }
    const headers: Record<string, string> = { etag: this.etag };
    if (this.published !== undefined) headers["x-linked-etag"] = `"${this.published}"`;
    let [begin, end] = [0, size];
    let status = 200;
    if (asked && this.ranges && !happens("ignore")) {
      status = 206;
      begin = Number(asked[1]);
      end = Math.min(Number(asked[2]) + 1, size);
      if (begin >= size) {
        response.writeHead(416).end();
        return;
      }
      if (begin > 0 && happens("shift")) begin -= 1;
      if (happens("overrun")) end = Math.min(end + 5000, size);
      if (happens("lie")) end = begin + Math.ceil((end - begin) / 2);
      headers["content-range"] = `bytes ${begin}-${end - 1}/${size}`;
    }
    headers["content-length"] = String(end - begin + (happens("lie") ? 100 : 0));
    response.writeHead(status, headers);
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    const broken = happens("drop") ? "drop" : happens("stall") ? "stall" : undefined;
    const until = broken ? begin + Math.floor(this.chance() * (end - begin)) : end;
    for (let at = begin; at < until && !response.destroyed; at += 16384) {
      const piece = this.bytes.subarray(at, Math.min(at + 16384, until));
      this.sent_bytes += piece.length;
      if (!response.write(piece)) await drained(response);
      if (this.pace_ms > 0) await new Promise((resolve) => setTimeout(resolve, this.pace_ms));
    }
    if (broken === "stall") return;
    if (broken === "drop") response.destroy();
    else response.end();
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

/** What makes a page cross-origin isolated. */
const ISOLATING = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

async function sendFile(folder: string, path: string, isolated: boolean, response: ServerResponse): Promise<void> {
  const file = join(folder, normalize(path.endsWith("/") ? `${path}index.html` : path));
  try {
    const bytes = await readFile(file);
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    const headers = { "content-type": type, "cache-control": "no-store", ...(isolated ? ISOLATING : {}) };
    response.writeHead(200, headers).end(bytes);
  } catch {
    response.writeHead(404).end();
  }
}

/** A plain server of a folder, without a header that promises anything but, where that is
 * asked for, isolation. What `sends` refuses is not there. */
export async function serveFolder(
  folder: string,
  isolated = false,
  sends: (path: string) => boolean = () => true,
): Promise<{ url: string; stop: () => void }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://a").pathname;
    if (sends(path)) void sendFile(folder, path, isolated, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, stop: () => void server.close() };
}
