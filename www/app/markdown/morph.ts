/** Makes `there` look like `wanted` and touches no more of it than that takes: what is the
 * same stays the same nodes, so a selection survives and nothing is laid out twice. */
export function morph(there: ParentNode & Node, wanted: ParentNode & Node): void {
  const nodes = [...wanted.childNodes];
  for (const [at, node] of nodes.entries()) {
    const old = there.childNodes[at];
    if (!old) there.appendChild(node);
    else if (!old.isEqualNode(node)) change(old, node);
  }
  while (there.childNodes.length > nodes.length) there.lastChild?.remove();
}

function change(old: ChildNode, node: ChildNode): void {
  if (old instanceof Text && node instanceof Text) {
    if (node.data.startsWith(old.data)) old.appendData(node.data.slice(old.data.length));
    else old.data = node.data;
  } else if (old instanceof HTMLElement && node instanceof HTMLElement && alike(old, node)) morph(old, node);
  else old.replaceWith(node);
}

/** The same element, whatever is in it. */
function alike(one: HTMLElement, other: HTMLElement): boolean {
  return one.cloneNode(false).isEqualNode(other.cloneNode(false));
}
