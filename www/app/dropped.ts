/** The files of a drop: those dropped, and those of dropped folders, but not what lies
 * deeper, which is other formats and copies. */
export async function filesOf(transfer: DataTransfer): Promise<File[]> {
  // The list empties as soon as the event is over: take the entries first.
  const items = [...transfer.items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const entries = items.map(({ entry }) => entry).filter((entry) => entry !== null);
  // What came from no disk has no entry.
  const loose = items.filter(({ entry }) => entry === null).map(({ file }) => file).filter((file) => file !== null);
  const inside = await Promise.all(entries.filter(isFolder).map(entriesIn));
  return [...loose, ...(await Promise.all([...entries, ...inside.flat()].filter(isFile).map(fileOf)))];
}

async function entriesIn(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const entries: FileSystemEntry[] = [];
  for (;;) {
    // A reader answers in batches and ends with an empty one.
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return entries;
    entries.push(...batch);
  }
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const isFolder = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
