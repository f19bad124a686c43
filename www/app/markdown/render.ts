/**
 * A block of markdown -> nodes. This is the one door by which a model's text becomes
 * elements of the page, and it is narrow: a short list of tags, three attributes, no
 * address but http's. What is added to that (buttons, hosts, formulas) is made here, after.
 */
import DOMPurify from "dompurify";
import { tellWhere } from "./links.ts";
import { highlighter, mathematician } from "./rich.svelte.ts";
import { markdown } from "./syntax.ts";

const TAGS = [
  "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li",
  "table", "thead", "tbody", "tr", "th", "td", "a", "span",
];
const ATTRIBUTES = ["href", "class", "start", "align"];
/** Longer code is shown plain: colours are not worth a pause. */
const MAX_HIGHLIGHTED_CHARACTERS = 20_000;
const MAX_FORMULA_CHARACTERS = 4_000;

/** The nodes of one block. */
export function rendered(block: string): DocumentFragment {
  const html = markdown.parse(block, { async: false });
  const fragment = clean(html);
  for (const link of fragment.querySelectorAll("a")) tellWhere(link);
  for (const code of fragment.querySelectorAll<HTMLElement>("pre > code")) frameCode(code);
  for (const table of fragment.querySelectorAll("table")) frameTable(table);
  for (const formula of fragment.querySelectorAll<HTMLElement>("span.math")) typeset(formula);
  for (const element of fragment.children) if (!element.matches("figure")) element.setAttribute("dir", "auto");
  return fragment;
}

function clean(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^https?:/i,
    RETURN_DOM_FRAGMENT: true,
  });
}

/** Code with its language, colours, and a button that copies exactly it. */
function frameCode(code: HTMLElement): void {
  const pre = code.parentElement;
  if (!pre) return;
  const text = code.textContent;
  const language = /language-(\S+)/.exec(code.className)?.[1] ?? "";
  code.removeAttribute("class");
  colour(code, text, language);
  const figure = element("figure", "code");
  const caption = element("figcaption");
  const name = element("span");
  name.textContent = language || "text";
  const copy = element("button", "bare");
  copy.setAttribute("type", "button");
  copy.dataset["copy"] = "";
  copy.textContent = "Copy";
  caption.append(name, copy);
  pre.replaceWith(figure);
  figure.append(caption, pre);
  pre.tabIndex = 0;
  pre.dir = "ltr";
}

function colour(code: HTMLElement, text: string, language: string): void {
  if (!language || text.length > MAX_HIGHLIGHTED_CHARACTERS) return;
  const hljs = highlighter.get();
  if (!hljs?.getLanguage(language)) return;
  const { value } = hljs.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(clean(value));
}

/** Wide tables scroll by themselves, also from the keyboard. */
function frameTable(table: HTMLTableElement): void {
  const frame = element("div", "table");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Table");
  table.replaceWith(frame);
  frame.append(table);
}

function typeset(formula: HTMLElement): void {
  const source = formula.textContent;
  formula.dir = "ltr";
  const katex = source.length > MAX_FORMULA_CHARACTERS ? undefined : mathematician.get();
  if (!katex) return;
  try {
    katex.render(source, formula, {
      displayMode: formula.classList.contains("math-display"),
      strict: "ignore",
      trust: false,
      maxExpand: 200,
      maxSize: 20,
      errorColor: "currentcolor",
    });
  } catch {
    // No formula, or one half-written: its source says more than nothing.
    formula.textContent = source;
  }
}

function element(name: string, className = ""): HTMLElement {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}
