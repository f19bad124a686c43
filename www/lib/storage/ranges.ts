/** Bytes of stored ranges, read without a detour where the browser can. */

/** Ranges that are open at a time. */
const N_OPEN = 4;

/**
 * Reads the range files of one folder.
 *
 * A File's bytes take a way through other processes. Where several readers may hold a file
 * open (Chromium from 121 on, in workers), they come at once, to where they are wanted.
 */
export class RangeReader {
  readonly #folder: FileSystemDirectoryHandle;
  /** By index, the one used longest ago first. */
  readonly #open = new Map<number, Promise<OpenFile | undefined>>();
  #can_open = true;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** The bytes from `begin` to `end` of a range, which is `file`.
   *
   * @throws {DOMException} where it cannot be read (any more). */
  async read(index: number, file: File, begin: number, end: number): Promise<Uint8Array> {
    // Nothing may come between an open file and its use: it may be closed any time after.
    const access = this.#can_open ? await this.#opened(index) : undefined;
    if (!access) return new Uint8Array(await file.slice(begin, end).arrayBuffer());
    const bytes = new Uint8Array(end - begin);
    if (access.read(bytes, { at: begin }) !== bytes.length) throw new DOMException("a short read", "NotReadableError");
    return bytes;
  }

  /** Holds nothing open from here on: what is read comes by way of a File. */
  async close(): Promise<void> {
    this.#can_open = false;
    await Promise.all([...this.#open.keys()].map((index) => this.#close(index)));
  }

  #opened(index: number): Promise<OpenFile | undefined> {
    const access = this.#open.get(index) ?? this.#openFile(index);
    this.#open.delete(index);
    this.#open.set(index, access);
    for (const oldest of [...this.#open.keys()].slice(0, -N_OPEN)) void this.#close(oldest);
    return access;
  }

  async #close(index: number): Promise<void> {
    const access = this.#open.get(index);
    this.#open.delete(index);
    (await access)?.close();
  }

  async #openFile(index: number): Promise<OpenFile | undefined> {
    try {
      const handle = (await this.#folder.getFileHandle(String(index))) as OpenableFile;
      if (!("createSyncAccessHandle" in handle)) throw new Error("only workers can");
      const access = await handle.createSyncAccessHandle({ mode: "read-only" });
      if (access.mode === "read-only") return access;
      access.close(); // an older browser's, which nobody else could read meanwhile
      this.#can_open = false;
    } catch {
      this.#can_open = false;
    }
    return undefined;
  }
}

interface OpenFile {
  readonly mode?: string;
  read(into: Uint8Array, options: { at: number }): number;
  close(): void;
}

/** TypeScript's own declarations keep this to workers. */
interface OpenableFile extends FileSystemFileHandle {
  createSyncAccessHandle(options: { mode: "read-only" }): Promise<OpenFile>;
}
