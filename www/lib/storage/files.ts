/**
 * Files behind addresses, as the engine reads them: by range, while they are still being
 * downloaded, from disk where they have been.
 */
import { ChangedError, look, readWhole, shownUrl, type Found, type Identity, type Link, type Patience } from "./download.ts";
import { Sha256 } from "./sha256.ts";
import { Entry, hashOf, idOf, metaOf, openStore, removeStored } from "./store.ts";
import { Direct, StoredDownload, type FilesOptions, type ReadableFile } from "./stored.ts";

/** How much the first request asks for: enough for a small file or most headers. */
const HEAD_BYTES = 512 * 1024;

/** Files that one engine has open. */
export class Files {
  /** That something changed while it was read, or is not what was published. */
  changed: ChangedError | undefined;
  readonly #options: FilesOptions;
  readonly #closed = new AbortController();
  readonly #finished: Promise<void>[] = [];
  #store: Promise<FileSystemDirectoryHandle | undefined> | undefined;

  constructor(options: FilesOptions) {
    this.#options = options;
    const close = () => this.close();
    options.signal.addEventListener("abort", close, { signal: this.#closed.signal });
  }

  get patience(): Patience {
    return this.#options.patience;
  }

  /** Aborts when this closes. */
  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  /** The file at an address; undefined where there is none. `known` is what a hub says of it. */
  async open(link: Link, known: Known = {}): Promise<ReadableFile | undefined> {
    try {
      const file = await this.#open({ ...link, url: absolute(link.url) }, known);
      return file && this.#watched(file);
    } catch (error) {
      throw this.#note(error);
    }
  }

  async #open(link: Link, known: Known): Promise<ReadableFile | undefined> {
    this.#store ??= this.#options.store ? openStore() : Promise.resolve(undefined);
    const store = await this.#store;
    const signal = this.#closed.signal;
    const { patience } = this.#options;
    let n_head = Math.min(HEAD_BYTES, this.#options.range_bytes);
    if (store) {
      const entries = await Entry.all(store);
      const here = await this.#complete(store, entries, link, known);
      if (here) return here;
      for (const entry of entries.filter(({ meta }) => meta.url_hash === hashOf(link.url))) {
        await entry.scan();
        if (entry.has(0)) n_head = 1; // its beginning need not come again
      }
    }
    const found = await look(link, n_head, patience, signal);
    if (!found) return undefined;
    if (known.sha256) found.identity.sha256 = known.sha256;
    const { size_bytes } = found.identity;
    if (known.size_bytes !== undefined && size_bytes >= 0 && known.size_bytes !== size_bytes) {
      throw new ChangedError(shownUrl(link.url), `${size_bytes} bytes, but ${known.size_bytes} were published`);
    }
    if (size_bytes >= 0) this.#options.onFile(link.url, size_bytes);
    if (!store || size_bytes < 0 || !(await hasRoom(size_bytes))) return this.#unstored(link, found);
    const id = idOf(link.url, found.identity);
    const make = () => metaOf(link.url, found.identity, this.#options.range_bytes);
    let entry: Entry;
    try {
      entry = await Entry.open(store, id, make);
    } catch {
      return this.#unstored(link, found); // no room even for its name
    }
    return this.#stored(store, entry, link, found);
  }

  /** Resolves when everything opened has come whole and is what was published. */
  async finish(): Promise<void> {
    await Promise.all(this.#finished);
  }

  /** Stops downloads; what has come stays. */
  close(): void {
    this.#closed.abort();
  }

  /** What is there already, if it is still what its address has. */
  async #complete(
    store: FileSystemDirectoryHandle,
    entries: readonly Entry[],
    link: Link,
    known: Known,
  ): Promise<ReadableFile | undefined> {
    const url_hash = hashOf(link.url);
    const sha256 = known.sha256 ?? undefined;
    const same = ({ meta }: Entry) => (sha256 === undefined ? meta.url_hash === url_hash : meta.sha256 === sha256);
    for (const entry of entries) {
      if (!entry.meta.complete || !same(entry)) continue;
      await entry.scan();
      if (entry.stored_bytes !== entry.meta.size_bytes) continue;
      if (sha256 === undefined && !(await this.#unchanged(entry, link))) continue;
      this.#options.onFile(link.url, entry.meta.size_bytes);
      this.#options.onBytes(link.url, entry.meta.size_bytes, true);
      return this.#stored(store, entry, link, undefined);
    }
    return undefined;
  }

  /** Whether an address still has what is stored. Without a network it counts as such. */
  async #unchanged(entry: Entry, link: Link): Promise<boolean> {
    const patience = { ...this.#options.patience, retries: 0 };
    try {
      const now = await look(link, 1, patience, this.#closed.signal);
      if (!now) return false;
      const { etag, modified, size_bytes } = now.identity;
      const meta = entry.meta;
      return size_bytes === meta.size_bytes && etag === meta.etag && modified === meta.modified;
    } catch (error) {
      if (this.#closed.signal.aborted) throw error;
      return true;
    }
  }

  #stored(store: FileSystemDirectoryHandle, entry: Entry, link: Link, found: Found | undefined): ReadableFile {
    const file = new StoredDownload(entry, link, found, this.#options, this.#closed.signal);
    const finished = file.run().then(
      () => this.#forgetOlder(store, entry),
      (error: unknown) => {
        throw this.#note(error);
      },
    );
    // Whoever waits for the end hears of it; nobody may.
    finished.catch(() => undefined);
    this.#finished.push(finished);
    return file;
  }

  /** Removes other contents of the same address. */
  async #forgetOlder(store: FileSystemDirectoryHandle, entry: Entry): Promise<void> {
    for (const other of await Entry.all(store)) {
      if (other.id !== entry.id && other.meta.url_hash === entry.meta.url_hash) await removeStored(other.id);
    }
  }

  #note(error: unknown): unknown {
    if (error instanceof ChangedError) this.changed = error;
    return error;
  }

  #watched(file: ReadableFile): ReadableFile {
    const read = (begin: number, end: number) =>
      file.read(begin, end).catch((error: unknown) => {
        throw this.#note(error);
      });
    return { size_bytes: file.size_bytes, read };
  }

  async #unstored(link: Link, found: Found): Promise<ReadableFile> {
    this.#options.onUnstored();
    const { patience, onBytes } = this.#options;
    const signal = this.#closed.signal;
    const { identity, head } = found;
    onBytes(link.url, head.length, false);
    if (found.ranges) return new Direct(link, identity, head, this.#options, signal);
    // The browser holds it, on disk where it is large.
    let blob = new Blob();
    await readWhole(link, identity, patience, signal, async (body) => {
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      let n_bytes = 0;
      for await (const piece of body) {
        pieces.push(piece as Uint8Array<ArrayBuffer>);
        n_bytes += piece.length;
      }
      const { size_bytes } = identity;
      if (size_bytes >= 0 && n_bytes !== size_bytes) throw new Error(`${n_bytes} bytes of ${size_bytes}`);
      blob = new Blob(pieces);
    });
    if (identity.size_bytes < 0) this.#options.onFile(link.url, blob.size);
    onBytes(link.url, blob.size, false);
    if (identity.sha256 !== null) await checkBlob(blob, identity.sha256, shownUrl(link.url));
    return fromBlob(blob);
  }
}

/** What a hub, or whoever gave the address, says of a file. */
export type Known = Partial<Pick<Identity, "size_bytes" | "sha256">>;

/** A worker would resolve an address against its own. */
function absolute(url: string): string {
  return new URL(url, globalThis.location.href).href;
}

/** Whether the browser says that so much more fits; where it does not say, it is tried. */
async function hasRoom(n_bytes: number): Promise<boolean> {
  const { quota, usage = 0 } = await navigator.storage.estimate().catch((): StorageEstimate => ({}));
  return quota === undefined || quota - usage >= n_bytes;
}

async function checkBlob(blob: Blob, sha256: string, name: string): Promise<void> {
  const hash = new Sha256();
  for (let at = 0; at < blob.size; at += 2 ** 22) hash.update(new Uint8Array(await blob.slice(at, at + 2 ** 22).arrayBuffer()));
  const found = hash.hex();
  if (found !== sha256) throw new ChangedError(name, `its SHA-256 is ${found}, not the published ${sha256}`);
}

export function fromBlob(blob: Blob): ReadableFile {
  return {
    size_bytes: blob.size,
    read: async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer()),
  };
}
