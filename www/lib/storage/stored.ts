/** A file that is kept in the store while it comes, or read by range each time. */
import { TandemError } from "../errors.ts";
import { ChangedError, readRange, readWhole, shownUrl, type Found, type Identity, type Link, type Patience } from "./download.ts";
import { Sha256 } from "./sha256.ts";
import { LOCK_PREFIX, openStore, type Entry } from "./store.ts";

/** One file (`src/web/source.rs` calls these names). */
export interface ReadableFile {
  readonly size_bytes: number;
  /** The bytes from `begin` to `end`. */
  read(begin: number, end: number): Promise<Uint8Array>;
}

export interface FilesOptions {
  patience: Patience;
  /** Whether to keep what is downloaded. */
  store: boolean;
  range_bytes: number;
  /** Ranges to fetch at a time. */
  n_parallel: number;
  signal: AbortSignal;
  /** A file of this length is wanted. */
  onFile: (file: string, size_bytes: number) => void;
  /** What comes is not kept: no room, or no leave. */
  onUnstored: () => void;
  /** So many more bytes of a file are here, from the network or already on disk. */
  onBytes: (file: string, n_bytes: number, from_disk: boolean) => void;
}

/** Read by range each time. */
export class Direct implements ReadableFile {
  readonly size_bytes: number;
  readonly #link: Link;
  readonly #identity: Identity;
  readonly #head: Uint8Array;
  readonly #options: FilesOptions;
  readonly #signal: AbortSignal;

  constructor(link: Link, identity: Identity, head: Uint8Array, options: FilesOptions, signal: AbortSignal) {
    this.size_bytes = identity.size_bytes;
    this.#link = link;
    this.#identity = identity;
    this.#head = head;
    this.#options = options;
    this.#signal = signal;
  }

  read(begin: number, end: number): Promise<Uint8Array> {
    if (end <= this.#head.length) return Promise.resolve(this.#head.slice(begin, end));
    const { patience, onBytes } = this.#options;
    const told = (n_bytes: number) => onBytes(this.#link.url, n_bytes, false);
    return readRange(this.#link, begin, end, this.#identity, patience, this.#signal, told);
  }
}

/** Downloaded into the store while it is read; what a reader waits for comes first. */
export class StoredDownload implements ReadableFile {
  readonly size_bytes: number;
  readonly #entry: Entry;
  readonly #link: Link;
  readonly #found: Found | undefined;
  readonly #options: FilesOptions;
  readonly #signal: AbortSignal;
  /** Ranges that a reader waits for. */
  readonly #wanted = new Set<number>();
  readonly #under_way = new Set<number>();
  #waiters: (() => void)[] = [];
  /** Why there will be no more. */
  #failed: { error: unknown } | undefined;
  /** The disk is full, or was taken away: the rest is read where it is. */
  #direct: Direct | undefined;

  constructor(entry: Entry, link: Link, found: Found | undefined, options: FilesOptions, signal: AbortSignal) {
    this.size_bytes = entry.meta.size_bytes;
    this.#entry = entry;
    this.#link = link;
    this.#found = found;
    this.#options = options;
    this.#signal = signal;
  }

  async read(begin: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - begin);
    const { range_bytes } = this.#entry.meta;
    for (let at = begin; at < end; ) {
      const index = Math.floor(at / range_bytes);
      const span = this.#entry.span(index);
      const until = Math.min(end, span.end);
      bytes.set(await this.#piece(index, at - span.begin, until - span.begin), at - begin);
      at = until;
    }
    return bytes;
  }

  /** Downloads what is missing, checks it against what was published, and holds the file
   * against removal until the engine closes. */
  async run(): Promise<void> {
    const { locks } = navigator;
    const { id } = this.#entry;
    const held = new Promise<void>((resolve) => this.#signal.addEventListener("abort", () => resolve()));
    // Removal waits for nobody: it asks whether anybody holds this.
    void locks.request(`${LOCK_PREFIX}use-${id}`, { mode: "shared", signal: this.#signal }, () => held).catch(() => undefined);
    this.#signal.addEventListener("abort", () => void this.#entry.close());
    try {
      if (this.#entry.meta.complete && this.#missing() === undefined) return;
      this.#options.onBytes(this.#link.url, this.#entry.stored_bytes, true);
      // Another tab may be at it: what it stores is read here too.
      const polling = setInterval(() => void this.#look(), 250);
      try {
        await locks.request(`${LOCK_PREFIX}write-${id}`, { signal: this.#signal }, async () => {
          clearInterval(polling);
          await this.#look();
          await this.#download();
        });
      } finally {
        clearInterval(polling);
      }
    } catch (error) {
      this.#failed = { error: this.#signal.aborted ? new TandemError("aborted", "stopped") : error };
      throw this.#failed.error;
    } finally {
      this.#wake();
    }
  }

  async #piece(index: number, begin: number, end: number): Promise<Uint8Array> {
    for (;;) {
      if (this.#entry.has(index)) {
        try {
          return await this.#entry.read(index, begin, end);
        } catch {
          this.#giveUpDisk();
        }
      }
      if (this.#direct) {
        const from = this.#entry.span(index).begin;
        return this.#direct.read(from + begin, from + end);
      }
      if (this.#failed) throw this.#failed.error;
      this.#wanted.add(index);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async #look(): Promise<void> {
    const before = this.#entry.stored_bytes;
    await this.#entry.scan().catch(() => undefined);
    const more = this.#entry.stored_bytes - before;
    if (more > 0) this.#options.onBytes(this.#link.url, more, true);
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  /** The range to fetch next. */
  #missing(): number | undefined {
    const free = (index: number) => !this.#entry.has(index) && !this.#under_way.has(index);
    for (const index of this.#wanted) {
      if (free(index)) return index;
    }
    for (let index = 0; index < this.#entry.n_ranges; index += 1) if (free(index)) return index;
    return undefined;
  }

  async #download(): Promise<void> {
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    this.#signal.addEventListener("abort", onAbort, { signal: stop.signal });
    const hash = this.#entry.meta.sha256 === null ? undefined : this.#hash(stop.signal);
    hash?.catch(() => undefined);
    const n = this.#found?.ranges === false ? 1 : this.#options.n_parallel;
    const workers = Array.from({ length: n }, () => this.#work(stop.signal));
    try {
      await Promise.all(workers);
      if (this.#direct) return;
      const found = await hash;
      if (found !== undefined && found !== this.#entry.meta.sha256) {
        const store = await openStore();
        await this.#entry.close();
        await store?.removeEntry(this.#entry.id, { recursive: true });
        throw new ChangedError(shownUrl(this.#link.url), `its SHA-256 is ${found}, not the published ${this.#entry.meta.sha256}`);
      }
      await this.#entry.finish().catch(() => this.#giveUpDisk());
    } finally {
      stop.abort();
      // Locks are let go only when nothing writes any more.
      await Promise.allSettled(workers);
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    if (this.#found?.ranges === false) return this.#wholeWork(signal);
    const { patience, onBytes } = this.#options;
    for (let index; !this.#direct && (index = this.#missing()) !== undefined; ) {
      this.#under_way.add(index);
      const { begin, end } = this.#entry.span(index);
      const head = this.#found?.head ?? new Uint8Array();
      let bytes: Uint8Array;
      const from = index === 0 ? Math.min(head.length, end) : begin;
      const told = (n_bytes: number) => onBytes(this.#link.url, n_bytes, false);
      const rest = await readRange(this.#link, from, end, this.#entry.meta, patience, signal, told);
      if (from > begin) {
        bytes = new Uint8Array(end - begin);
        bytes.set(head.subarray(0, from));
        bytes.set(rest, from);
        told(from);
      } else bytes = rest;
      await this.#keep(index, bytes);
      this.#under_way.delete(index);
    }
  }

  /** From a server without ranges: everything from its start, what is here already again. */
  async #wholeWork(signal: AbortSignal): Promise<void> {
    const { patience, onBytes } = this.#options;
    if (this.#missing() === undefined) return;
    await readWhole(this.#link, this.#entry.meta, patience, signal, async (body) => {
      let index = 0;
      let filled = 0;
      let range = new Uint8Array();
      const begin = () => {
        const span = this.#entry.span(index);
        range = new Uint8Array(index < this.#entry.n_ranges ? span.end - span.begin : 0);
        filled = 0;
      };
      begin();
      for await (let piece of body) {
        while (piece.length > 0 && index < this.#entry.n_ranges) {
          const part = piece.subarray(0, range.length - filled);
          range.set(part, filled);
          filled += part.length;
          piece = piece.subarray(part.length);
          if (filled < range.length) continue;
          if (!this.#entry.has(index)) {
            onBytes(this.#link.url, range.length, false);
            await this.#keep(index, range);
          }
          index += 1;
          begin();
        }
      }
      if (!this.#direct && this.#missing() !== undefined) throw new Error("the answer ended early");
    });
  }

  async #keep(index: number, bytes: Uint8Array): Promise<void> {
    try {
      await this.#entry.write(index, bytes);
    } catch {
      this.#giveUpDisk(); // what is stored stays, and is used when there is room again
    }
    this.#wanted.delete(index);
    this.#wake();
  }

  #giveUpDisk(): void {
    this.#options.onUnstored();
    this.#direct ??= new Direct(this.#link, this.#entry.meta, new Uint8Array(), this.#options, this.#signal);
    this.#wake();
  }

  /** The hash of all ranges, in order, as they come. */
  async #hash(signal: AbortSignal): Promise<string | undefined> {
    const hash = new Sha256();
    for (let index = 0; index < this.#entry.n_ranges; index += 1) {
      while (!this.#entry.has(index)) {
        if (signal.aborted || this.#direct || this.#failed) return undefined;
        await new Promise<void>((resolve) => {
          this.#waiters.push(resolve);
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
      const { begin, end } = this.#entry.span(index);
      hash.update(await this.#entry.read(index, 0, end - begin));
    }
    return hash.hex();
  }
}
