/** Which replies are being written now, in whichever tab: each is held by a lock, which
 * goes when its page goes, however that ends. */
const PREFIX = "tandem-reply-";

/** Holds a reply for as long as `writing` takes. */
export async function holding<T>(message: string, writing: () => Promise<T>): Promise<T> {
  return navigator.locks.request(PREFIX + message, writing);
}

/** The ids of the replies that are held. */
export async function heldReplies(): Promise<Set<string>> {
  const { held = [] } = await navigator.locks.query();
  const names = held.map(({ name }) => name ?? "").filter((name) => name.startsWith(PREFIX));
  return new Set(names.map((name) => name.slice(PREFIX.length)));
}
