/** What is half-written, closed for show: a reply that arrives piece by piece should not
 * flicker between marks and what they mean. */
import remend from "remend";

/** The last block of a reply that still grows, with its open marks closed. */
export function repaired(block: string): string {
  if (/^ {0,3}(```|~~~)/.test(block)) return block; // the lexer closes fences itself
  const table = repairedTable(block);
  if (table !== undefined) return table;
  return remend(block, { linkMode: "text-only", htmlTags: false, inlineKatex: false });
}

/** A table whose second line, which makes it one, is not written yet. */
function repairedTable(block: string): string | undefined {
  const [head, rule, ...rest] = block.split("\n");
  if (!head?.trimStart().startsWith("|") || rest.some((line) => line.trim())) return undefined;
  const inner = head.trim().replace(/^\||\|$/g, "");
  if (!inner.trim() || !/^[\s|:-]*$/.test(rule ?? "")) return undefined;
  const n_columns = inner.split(/(?<!\\)\|/).length;
  const done = (rule?.match(/-+/g) ?? []).length;
  return done >= n_columns ? undefined : `${head}\n|${" --- |".repeat(n_columns)}`;
}
