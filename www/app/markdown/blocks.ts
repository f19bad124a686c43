/** A text that grows -> its top-level blocks. Only the end can still change: what lies
 * before it is not read again. */
import { Lexer, type Token } from "marked";
import { markdown } from "./syntax.ts";

/** Blocks at the end that more text may still change: the one that grows, and the one
 * before it, which it may turn out to belong to. */
const N_OPEN = 2;

export class Blocks {
  #text = "";
  #settled: string[] = [];
  #settled_length = 0;

  /** The blocks of `text`, as they stand in it. */
  of(text: string): readonly string[] {
    if (!text.startsWith(this.#text)) {
      this.#settled = [];
      this.#settled_length = 0;
    }
    this.#text = text;
    const open = blocksIn(text.slice(this.#settled_length));
    for (const block of open.splice(0, Math.max(0, open.length - N_OPEN))) {
      this.#settled.push(block);
      this.#settled_length += block.length;
    }
    return [...this.#settled, ...open];
  }
}

function blocksIn(text: string): string[] {
  const tokens: Token[] = new Lexer(markdown.defaults).blockTokens(text, []);
  const blocks: string[] = [];
  let at = 0;
  for (const { type, raw } of tokens) {
    // Where the lexer tells another text than stands there, the rest is one block.
    if (!text.startsWith(raw, at)) break;
    at += raw.length;
    const before = type === "space" ? blocks.pop() : undefined;
    blocks.push((before ?? "") + raw);
  }
  if (at < text.length) blocks.push(text.slice(at));
  return blocks;
}

/** The text as the lexer will take it, so that its blocks are the text's own. */
export function normalised(text: string): string {
  return text.replace(/\r\n|\r/g, "\n");
}
