/**
 * Downloaded files in the origin's private file system, by content.
 *
 * ```text
 * tandem/files/ID/meta.json   what it is
 * tandem/files/ID/0, 1, ...   its ranges, each written whole or not at all
 * ```
 *
 * ID is the file's published SHA-256, or a hash of its address and of what tells its content
 * from others. What stands on disk says by itself how far a download has come, so a page or
 * a worker may go away at any moment.
 */
import { shownUrl, type Identity } from "./download.ts";
import { RangeReader } from "./ranges.ts";
import { Sha256 } from "./sha256.ts";

/** A downloaded file, or a part of one. */
export interface StoredFile {
  /** Its name here: SHA-256 of its content where that is known. */
  id: string;
  /** Where it came from, without a query. */
  url: string;
  size_bytes: number;
  /** How much of it is here. */
  stored_bytes: number;
  /** Whether it is here whole, and is what was published. */
  complete: boolean;
}

/** What stands in `meta.json`. */
export interface Meta extends Identity {
  url: string;
  /** SHA-256 of the address with all of its query, which may be a secret. */
  url_hash: string;
  range_bytes: number;
  /** Whether all ranges are there and fit the published hash. */
  complete: boolean;
}

export const LOCK_PREFIX = "tandem-file-";

/** SHA-256 of a text, in hexadecimal. */
export function hashOf(text: string): string {
  return new Sha256().update(new TextEncoder().encode(text)).hex();
}

export function idOf(url: string, identity: Identity): string {
  if (identity.sha256 !== null) return `sha256-${identity.sha256}`;
  const { size_bytes, etag, modified } = identity;
  return `url-${hashOf(JSON.stringify([url, size_bytes, etag, modified])).slice(0, 40)}`;
}

/** The folder of stored files; undefined where there is no place for it, or no leave. */
export async function openStore(part: "files" | "hub" = "files"): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    // Absent where the page is not secure, and in older browsers.
    const storage = (globalThis.navigator as Navigator | undefined)?.storage;
    if (!storage || !("getDirectory" in storage)) return undefined;
    const root = await storage.getDirectory();
    const tandem = await root.getDirectoryHandle("tandem", { create: true });
    return await tandem.getDirectoryHandle(part, { create: true });
  } catch {
    return undefined; // denied: private windows, settings
  }
}

/** Keeps a text for when there is no network, if it can. */
export async function remember(part: "hub", name: string, text: string): Promise<void> {
  try {
    const folder = await openStore(part);
    if (folder) await writeFile(folder, hashOf(name), new TextEncoder().encode(text));
  } catch {
    // No room: there will be a network next time, or an error.
  }
}

/** The text that was kept. */
export async function recall(part: "hub", name: string): Promise<string | undefined> {
  try {
    const folder = await openStore(part);
    return folder && (await (await (await folder.getFileHandle(hashOf(name))).getFile()).text());
  } catch {
    return undefined;
  }
}

/** One stored file's folder. */
export class Entry {
  readonly id: string;
  readonly meta: Meta;
  readonly #folder: FileSystemDirectoryHandle;
  readonly #ranges = new Map<number, File>();
  readonly #reader: RangeReader;

  private constructor(id: string, meta: Meta, folder: FileSystemDirectoryHandle) {
    this.id = id;
    this.meta = meta;
    this.#folder = folder;
    this.#reader = new RangeReader(folder);
  }

  /** The entry of this id, made where there is none. */
  static async open(store: FileSystemDirectoryHandle, id: string, make: () => Meta): Promise<Entry> {
    const folder = await store.getDirectoryHandle(id, { create: true });
    let meta = await readMeta(folder);
    if (!meta) {
      meta = make();
      await writeFile(folder, "meta.json", new TextEncoder().encode(JSON.stringify(meta)));
    }
    const entry = new Entry(id, meta, folder);
    await entry.scan();
    return entry;
  }

  /** All that there are. */
  static async all(store: FileSystemDirectoryHandle): Promise<Entry[]> {
    const entries = [];
    for await (const [id, handle] of store.entries()) {
      if (handle.kind !== "directory") continue;
      const folder = handle;
      const meta = await readMeta(folder);
      if (meta) entries.push(new Entry(id, meta, folder));
    }
    return entries;
  }

  /** How many ranges there are in all. */
  get n_ranges(): number {
    return Math.ceil(this.meta.size_bytes / this.meta.range_bytes);
  }

  get stored_bytes(): number {
    let n = 0;
    for (const index of this.#ranges.keys()) n += this.span(index).end - this.span(index).begin;
    return n;
  }

  /** Where a range lies in the file. */
  span(index: number): { begin: number; end: number } {
    const begin = index * this.meta.range_bytes;
    return { begin, end: Math.min(begin + this.meta.range_bytes, this.meta.size_bytes) };
  }

  has(index: number): boolean {
    return this.#ranges.has(index);
  }

  /** Looks again at what is there: another tab may have written. */
  async scan(): Promise<void> {
    for await (const [name, handle] of this.#folder.entries()) {
      const index = Number(name);
      if (handle.kind !== "file" || !/^\d+$/.test(name) || this.#ranges.has(index)) continue;
      const file = await (handle).getFile();
      const { begin, end } = this.span(index);
      // Shorter ones were being written when their page went away.
      if (file.size === end - begin) this.#ranges.set(index, file);
    }
  }

  /** The bytes from `begin` to `end` of a range that is there. */
  async read(index: number, begin: number, end: number): Promise<Uint8Array> {
    const file = this.#ranges.get(index);
    if (!file) throw new Error(`range ${index} is not there`);
    try {
      return await this.#reader.read(index, file, begin, end);
    } catch (error) {
      this.#ranges.delete(index); // somebody cleared the site's data
      throw error;
    }
  }

  /** Lets go of what reading holds open: before that nothing here can be removed. */
  close(): Promise<void> {
    return this.#reader.close();
  }

  async write(index: number, bytes: Uint8Array): Promise<void> {
    const handle = await writeFile(this.#folder, String(index), bytes);
    this.#ranges.set(index, await handle.getFile());
  }

  /** Every range is there and right. */
  async finish(): Promise<void> {
    this.meta.complete = true;
    await writeFile(this.#folder, "meta.json", new TextEncoder().encode(JSON.stringify(this.meta)));
  }
}

async function readMeta(folder: FileSystemDirectoryHandle): Promise<Meta | undefined> {
  try {
    const file = await (await folder.getFileHandle("meta.json")).getFile();
    const meta = JSON.parse(await file.text()) as Meta;
    const fine = Number.isSafeInteger(meta.size_bytes) && meta.size_bytes >= 0 && meta.range_bytes > 0;
    return fine ? meta : undefined;
  } catch {
    return undefined; // none yet, or its page went away while it wrote
  }
}

/** Writes a file whole. Where the browser can, it replaces the old one at the end. */
async function writeFile(folder: FileSystemDirectoryHandle, name: string, bytes: Uint8Array): Promise<FileSystemFileHandle> {
  const handle = await folder.getFileHandle(name, { create: true });
  if ("createWritable" in handle) {
    const writable = await handle.createWritable();
    try {
      await writable.write(bytes as Uint8Array<ArrayBuffer>);
      await writable.close();
    } catch (error) {
      await writable.abort().catch(() => undefined);
      throw error;
    }
    return handle;
  }
  // Safari before 26, where only workers can write.
  const access = await (handle as SyncFile).createSyncAccessHandle();
  try {
    access.truncate(0);
    if (access.write(bytes) !== bytes.length) throw new DOMException("a short write", "QuotaExceededError");
    access.flush();
  } finally {
    access.close();
  }
  return handle;
}

/** TypeScript's own declarations keep these to workers. */
interface SyncFile extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array): number;
    flush(): void;
    close(): void;
  }>;
}

/** What is stored. */
export async function listStored(): Promise<StoredFile[]> {
  const store = await openStore();
  if (!store) return [];
  const entries = await Entry.all(store);
  return Promise.all(
    entries.map(async (entry) => {
      await entry.scan();
      const { url, size_bytes, complete } = entry.meta;
      const { id, stored_bytes } = entry;
      return { id, url, size_bytes, stored_bytes, complete: complete && stored_bytes === size_bytes };
    }),
  );
}

/** Removes a file, or what there is of it; false where an engine, in this tab or another,
 * uses it. */
export async function removeStored(id: string): Promise<boolean> {
  const store = await openStore();
  if (!store) return true;
  return navigator.locks.request(`${LOCK_PREFIX}use-${id}`, { ifAvailable: true }, async (lock) => {
    if (!lock) return false;
    await store.removeEntry(id, { recursive: true }).catch((error: unknown) => {
      if (!(error instanceof DOMException && error.name === "NotFoundError")) throw error;
    });
    return true;
  });
}

export function metaOf(url: string, identity: Identity, range_bytes: number): Meta {
  return { ...identity, url: shownUrl(url), url_hash: hashOf(url), range_bytes, complete: false };
}
