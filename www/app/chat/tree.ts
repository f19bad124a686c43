/** Messages as a tree: those that share a parent are versions of each other, and a branch
 * is what lies between a message and the beginning. */
interface Node {
  readonly id: string;
  readonly parent: string | null;
}

/** From the first message to `leaf`. */
export function branchTo<N extends Node>(messages: readonly N[], leaf: string | null): N[] {
  const by_id = new Map(messages.map((message) => [message.id, message]));
  const branch: N[] = [];
  let at = leaf === null ? undefined : by_id.get(leaf);
  // No branch is longer than all there is: what came from a file may run in a circle.
  while (at && branch.length <= messages.length) {
    branch.push(at);
    at = at.parent === null ? undefined : by_id.get(at.parent);
  }
  return branch.reverse();
}

/** The versions of a message, itself among them, in the order they were made. */
export function versionsOf<N extends Node>(messages: readonly N[], { parent }: N): N[] {
  return messages.filter((message) => message.parent === parent);
}

/** The end of the branch that was last written to below `from`. */
export function latestLeaf(messages: readonly Node[], from: string): string {
  let leaf = from;
  for (let n_steps = 0; n_steps < messages.length; n_steps += 1) {
    const child = messages.findLast((message) => message.parent === leaf);
    if (!child) break;
    leaf = child.id;
  }
  return leaf;
}

/** What is left without `taken`. */
export function without<N extends Node>(messages: readonly N[], taken: readonly Node[]): N[] {
  const gone = new Set(taken.map(({ id }) => id));
  return messages.filter(({ id }) => !gone.has(id));
}

/** A message and everything said after it, on any branch. */
export function below<N extends Node>(messages: readonly N[], from: N): N[] {
  const ids = new Set([from.id]);
  for (const message of messages) if (message.parent !== null && ids.has(message.parent)) ids.add(message.id);
  return messages.filter((message) => ids.has(message.id));
}
