/** Words that the model was unsure of, marked in the reply as it stands: ranges over its
 * text, so that nothing of it changes. */
import type { TracedToken } from "../store/records.ts";

const UNSURE_BELOW = 0.2;
/** How far ahead a token is looked for: marks of markdown are not in the text. */
const REACH_CHARACTERS = 80;
const NAME = "unsure";

/** The marks of every reply in view. */
const marks = typeof Highlight === "undefined" ? undefined : new Highlight();

/** Marks the unsure words of a reply's element; answers with what takes the marks away. */
export function markUnsure(reply: Element, trace: readonly TracedToken[]): () => void {
  if (!marks) return () => undefined;
  CSS.highlights.set(NAME, marks);
  const ranges = unsureRanges(reply, trace);
  for (const range of ranges) marks.add(range);
  return () => {
    for (const range of ranges) marks.delete(range);
  };
}

function unsureRanges(reply: Element, trace: readonly TracedToken[]): Range[] {
  const nodes: { node: Text; start: number }[] = [];
  let text = "";
  const walker = document.createTreeWalker(reply, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    nodes.push({ node: node as Text, start: text.length });
    text += node.nodeValue ?? "";
  }
  const ranges: Range[] = [];
  let at = 0;
  let holder = 0;
  for (const token of trace) {
    const word = token.text.trim();
    if (!word) continue;
    const found = text.slice(at, at + REACH_CHARACTERS + word.length).indexOf(word);
    if (found < 0) continue;
    const start = at + found;
    at = start + word.length;
    if (token.p >= UNSURE_BELOW || !/[\p{L}\p{N}]/u.test(word)) continue;
    while ((nodes[holder + 1]?.start ?? Infinity) <= start) holder += 1;
    const place = nodes[holder];
    // A token that runs over the border of two elements is marked as far as the first.
    if (!place) continue;
    const range = new Range();
    range.setStart(place.node, start - place.start);
    range.setEnd(place.node, Math.min(at - place.start, place.node.length));
    ranges.push(range);
  }
  return ranges;
}
