/** Markdown as models write it: GitHub's, with mathematics; raw HTML is text, and an image
 * is a link to it. */
import { Marked, type RendererThis, type TokenizerAndRendererExtension, type Tokens } from "marked";

/** Outlines of replies begin below those of the page. */
const HEADING_OFFSET = 2;

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function mathematics(name: string, level: "block" | "inline", start: RegExp, whole: RegExp): TokenizerAndRendererExtension {
  const display = level === "block";
  return {
    name,
    level,
    start: (source) => {
      const at = source.search(start);
      return at < 0 ? undefined : at;
    },
    tokenizer(source) {
      const found = whole.exec(source);
      if (!found) return undefined;
      return { type: name, raw: found[0], text: (found[1] ?? found[2] ?? "").trim(), display: display || found[0].startsWith("$$") };
    },
    renderer({ text, display }) {
      const kind = display === true ? "math math-display" : "math";
      const inner = `<span class="${kind}">${escaped(String(text))}</span>`;
      return level === "block" ? `<p>${inner}</p>` : inner;
    },
  };
}

export const markdown = new Marked({
  gfm: true,
  breaks: true,
  async: false,
  extensions: [
    mathematics(
      "mathBlock",
      "block",
      /\$\$|\\\[/,
      /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/,
    ),
    // A dollar sign is mathematics only where it hugs what it encloses, and no number
    // follows: prices are not.
    mathematics(
      "mathInline",
      "inline",
      /\$|\\\(/,
      /^(?:\$\$?(?![\s$])((?:\\.|[^\\$\n])+?)(?<!\s)\$\$?(?!\d)|\\\((.+?)\\\))/,
    ),
  ],
  renderer: {
    html: ({ text }) => escaped(text),
    image({ href, text }) {
      return `<a class="image" href="${escaped(href)}">${escaped(text || "image")}</a>`;
    },
    heading(this: RendererThis, { tokens, depth }: Tokens.Heading) {
      const level = Math.min(depth + HEADING_OFFSET, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code({ text, lang }) {
      const language = /^[\w#+.-]{1,30}/.exec(lang ?? "")?.[0] ?? "";
      return `<pre><code${language ? ` class="language-${escaped(language)}"` : ""}>${escaped(text)}</code></pre>`;
    },
  },
});
