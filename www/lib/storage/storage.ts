/** What downloads have left in this browser: seen, counted and removed. */
import { listStored, removeStored, type StoredFile } from "./store.ts";

export interface ModelStorage {
  /** Downloaded files, and parts of such. */
  list(): Promise<StoredFile[]>;
  /** Removes a file; false where an engine, in this tab or another, uses it. */
  remove(id: string): Promise<boolean>;
  /** What all of this site's data takes, and may take; zeros where the browser does not say. */
  estimate(): Promise<{ used_bytes: number; quota_bytes: number }>;
  /** Asks the browser not to clear this site's data when space runs low. Some ask the person. */
  persist(): Promise<boolean>;
}

/** Absent in insecure contexts, and where there is no browser. */
function manager(): StorageManager | undefined {
  return (globalThis.navigator as Navigator | undefined)?.storage;
}

export const storage: ModelStorage = {
  list: listStored,
  remove: removeStored,
  async estimate() {
    const { usage = 0, quota = 0 } = (await manager()?.estimate().catch(() => undefined)) ?? {};
    return { used_bytes: usage, quota_bytes: quota };
  },
  async persist() {
    return (await manager()?.persist().catch(() => false)) ?? false;
  },
};
