/**
 * Bytes from a server that may drop, stall, ignore what was asked or change its mind.
 *
 * Every range ends with exactly the bytes that were asked for, of the file that was asked
 * for first, or with an error.
 */
import { TandemError } from "../errors.ts";

/** What tells one content of an address from another. */
export interface Identity {
  size_bytes: number;
  etag: string | null;
  /** `Last-Modified`, as it came. */
  modified: string | null;
  /** SHA-256 that somebody published, in hexadecimal. */
  sha256: string | null;
}

export interface Link {
  url: string;
  /** Such as an authorisation; kept in memory only. */
  headers?: Record<string, string>;
}

/** How patient to be. */
export interface Patience {
  /** Without a byte for so long, a connection is given up. */
  stall_ms: number;
  /** Failures in a row, without a byte between them, before the whole is given up. */
  retries: number;
  /** The wait after the first failure; it doubles with each, up to 30 s. */
  backoff_ms: number;
}

export const PATIENCE: Patience = { stall_ms: 30_000, retries: 8, backoff_ms: 500 };

/** What a first look at an address found. */
export interface Found {
  identity: Identity;
  /** Whether the server serves ranges. */
  ranges: boolean;
  /** The first bytes: as many as were asked for, or all there are. */
  head: Uint8Array;
}

/** The file is not what it was when its download began. */
export class ChangedError extends TandemError {
  constructor(name: string, detail: string) {
    super("source_unreadable", `${name}: ${detail}`);
  }
}

/** An answer that another try will not change. */
class FinalError extends TandemError {}

/** An address as errors and lists may show it: queries can hold keys. */
export function shownUrl(url: string): string {
  return url.split(/[?#]/, 1)[0] ?? url;
}

/**
 * Looks at an address: its length, what tells its content from others, and its first
 * `n_bytes`. Undefined where the server says that there is nothing.
 */
export async function look(
  link: Link,
  n_bytes: number,
  patience: Patience,
  signal: AbortSignal | undefined,
): Promise<Found | undefined> {
  const name = shownUrl(link.url);
  return retried(name, patience, signal, async (attempt) => {
    const { response, body } = await attempt.send(link, `bytes=0-${n_bytes - 1}`);
    if (response.status === 404 || response.status === 410) {
      attempt.end();
      return undefined;
    }
    const etag = response.headers.get("etag");
    const identity: Identity = { size_bytes: 0, etag, modified: response.headers.get("last-modified"), sha256: null };
    identity.sha256 = publishedHash(response);
    // An empty file has no range to serve.
    if (response.status === 416) return { identity, ranges: true, head: new Uint8Array() };
    refuse(name, response);
    const ranges = response.status === 206;
    const length = numberOf(response.headers.get("content-length"));
    const range = rangeOf(response);
    let size = ranges ? range?.total : length;
    if (ranges && range && range.begin !== 0) throw retry(name, "the server sent another range than was asked for");
    if (!ranges) {
      // The body would be the whole file: whoever wants it asks again.
      attempt.end();
      if (size === undefined) size = -1;
      return { identity: { ...identity, size_bytes: size }, ranges, head: new Uint8Array() };
    }
    const head = await gather(body, size === undefined ? n_bytes : Math.min(n_bytes, size), attempt);
    // The server hides the header from other origins. A short answer is the whole file;
    // else the length has to be asked for.
    if (size === undefined && head.length < n_bytes) size = head.length;
    size ??= await lengthOf(link, attempt);
    if (head.length < Math.min(n_bytes, size)) throw retry(name, "the answer ended early");
    return { identity: { ...identity, size_bytes: size }, ranges, head };
  });
}

/** The bytes from `begin` to `end`, whatever it takes; `onBytes` hears of them as they come. */
export async function readRange(
  link: Link,
  begin: number,
  end: number,
  identity: Identity,
  patience: Patience,
  signal: AbortSignal | undefined,
  onBytes: (n_bytes: number) => void = () => undefined,
): Promise<Uint8Array> {
  const name = shownUrl(link.url);
  const bytes = new Uint8Array(end - begin);
  let at = 0;
  if (bytes.length === 0) return bytes;
  return retried(name, patience, signal, async (attempt) => {
    const from = begin + at;
    const { response, body } = await attempt.send(link, `bytes=${from}-${end - 1}`);
    const changed = difference(identity, response);
    if (changed) throw new ChangedError(name, `changed while it was read (${changed})`);
    if (response.status === 416) throw new ChangedError(name, "changed while it was read (it is shorter)");
    refuse(name, response);
    // 200 is the whole file from its start: the server ignored the range this time.
    if (response.status !== 206) throw retry(name, `HTTP status ${response.status} to a range`);
    const range = rangeOf(response);
    if (range && range.begin !== from) throw retry(name, "the server sent another range than was asked for");
    for await (const piece of body) {
      // More than was asked for is no concern of ours.
      const wanted = piece.subarray(0, bytes.length - at);
      bytes.set(wanted, at);
      at += wanted.length;
      attempt.moved();
      onBytes(wanted.length);
      if (at === bytes.length) break;
    }
    if (at < bytes.length) throw retry(name, "the answer ended early");
    return bytes;
  });
}

/** The whole of a file whose server knows no ranges, in pieces from its start. */
export function readWhole(
  link: Link,
  identity: Identity | undefined,
  patience: Patience,
  signal: AbortSignal | undefined,
  take: (body: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const name = shownUrl(link.url);
  return retried(name, patience, signal, async (attempt) => {
    const { response, body } = await attempt.send(link, undefined);
    refuse(name, response);
    const changed = identity && difference(identity, response);
    if (changed) throw new ChangedError(name, `changed while it was read (${changed})`);
    await take(body);
  });
}

/** One try: a request that is given up when nothing comes for too long. */
class Attempt {
  readonly #name: string;
  readonly #patience: Patience;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #has_stalled = false;
  /** Whether bytes came. */
  progressed = false;

  constructor(name: string, patience: Patience, signal: AbortSignal | undefined) {
    this.#name = name;
    this.#patience = patience;
    signal?.addEventListener("abort", () => this.end(), { signal: this.#controller.signal });
    this.#watch();
  }

  /** Bytes came. */
  moved(): void {
    this.progressed = true;
    this.#watch();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  get stalled(): boolean {
    return this.#has_stalled;
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#has_stalled = true;
      this.#controller.abort();
    }, this.#patience.stall_ms);
  }

  async send({ url, headers }: Link, range: string | undefined, method = "GET") {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(range === undefined ? {} : { range }) },
      // The store is the cache; and a browser's cache mixes ranges of different contents.
      cache: "no-store",
      credentials: "same-origin",
      referrerPolicy: "no-referrer",
      signal: this.#controller.signal,
    });
    this.#watch();
    return { response, body: this.#pieces(response) };
  }

  async *#pieces(response: Response): AsyncGenerator<Uint8Array, void> {
    const reader = response.body?.getReader();
    if (!reader) return;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#watch();
        yield value;
      }
    } catch (error) {
      throw this.#has_stalled ? retry(this.#name, `no byte for ${this.#patience.stall_ms / 1000} s`) : error;
    }
  }
}

/** Does `work` until it succeeds, with longer and longer waits between failures. */
async function retried<T>(
  name: string,
  patience: Patience,
  signal: AbortSignal | undefined,
  work: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  for (let failures = 0; ; ) {
    if (signal?.aborted) throw new TandemError("aborted", "stopped");
    const attempt = new Attempt(name, patience, signal);
    try {
      return await work(attempt);
    } catch (thrown) {
      if (signal?.aborted) throw new TandemError("aborted", "stopped");
      if (thrown instanceof FinalError || thrown instanceof ChangedError) throw thrown;
      failures = attempt.progressed ? 1 : failures + 1;
      if (failures > patience.retries) {
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        const detail = why.startsWith(name) ? why : `${name}: ${attempt.stalled ? "the server does not answer" : why}`;
        throw new TandemError("source_unreadable", detail);
      }
      const wait = Math.max(backoff(failures, patience), thrown instanceof RetryError ? thrown.wait_ms : 0);
      attempt.end();
      await sleep(wait, signal);
    } finally {
      attempt.end();
    }
  }
}

/** Up to a fifth more or less, so that many pages do not come back at once. */
function backoff(failures: number, { backoff_ms }: Patience): number {
  return Math.min(backoff_ms * 2 ** (failures - 1), 30_000) * (0.8 + 0.4 * Math.random());
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/** Worth another try. */
class RetryError extends TandemError {
  readonly wait_ms: number;

  constructor(message: string, wait_ms = 0) {
    super("source_unreadable", message);
    this.wait_ms = wait_ms;
  }
}

function retry(name: string, detail: string, wait_ms = 0): RetryError {
  return new RetryError(`${name}: ${detail}`, wait_ms);
}

/** Throws for a status that is no success: for good, or until another try. */
function refuse(name: string, response: Response): void {
  const { status } = response;
  if (response.ok) return;
  if (status === 408 || status === 429 || status >= 500) {
    const after = Number(response.headers.get("retry-after") ?? 0) * 1000;
    throw retry(name, `HTTP status ${status}`, Number.isFinite(after) ? Math.min(after, 60_000) : 0);
  }
  const gated = status === 401 || status === 403 ? ": it wants a token that allows it" : "";
  throw new FinalError("source_unreadable", `${name}: HTTP status ${status}${gated}`);
}

/** What of an answer does not fit the content that was seen first. */
function difference(identity: Identity, response: Response): string | undefined {
  const etag = response.headers.get("etag");
  if (etag !== null && identity.etag !== null && etag !== identity.etag) return "another ETag";
  const modified = response.headers.get("last-modified");
  if (modified !== null && identity.modified !== null && modified !== identity.modified) return "another date";
  const total = response.status === 206 ? rangeOf(response)?.total : undefined;
  if (total !== undefined && total !== identity.size_bytes) return "another length";
  return undefined;
}

/** `Content-Range: bytes 0-99/1234`, where the server shows it. */
function rangeOf(response: Response): { begin: number; total: number | undefined } | undefined {
  const found = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  if (!found) return undefined;
  return { begin: Number(found[1]), total: numberOf(found[2]) };
}

function numberOf(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** A hub that stores large files by their SHA-256 says it in `X-Linked-ETag`. */
function publishedHash(response: Response): string | null {
  const tag = response.headers.get("x-linked-etag") ?? "";
  return /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(tag)?.[1] ?? null;
}

/** The length that a HEAD request reports. */
async function lengthOf(link: Link, attempt: Attempt): Promise<number> {
  const { response } = await attempt.send(link, undefined, "HEAD");
  const length = numberOf(response.headers.get("content-length"));
  if (length === undefined) throw retry(shownUrl(link.url), "the server does not say how long it is");
  return length;
}

/** Up to `n_bytes` of a body. */
async function gather(body: AsyncIterable<Uint8Array>, n_bytes: number, attempt: Attempt): Promise<Uint8Array> {
  const bytes = new Uint8Array(n_bytes);
  let at = 0;
  for await (const piece of body) {
    const wanted = piece.subarray(0, n_bytes - at);
    bytes.set(wanted, at);
    at += wanted.length;
    attempt.moved();
    if (at === n_bytes) break;
  }
  return bytes.subarray(0, at);
}
