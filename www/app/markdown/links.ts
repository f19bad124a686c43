/** Where a link leads, told before anyone follows it. */

/** Only what a person may follow from a reply. */
export function outside(href: string | null): URL | undefined {
  if (href === null || !URL.canParse(href)) return undefined;
  const url = new URL(href);
  return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
}

/** Makes a reply's link one that asks first and shows its host, or, where it leads
 * nowhere, text. */
export function tellWhere(link: HTMLAnchorElement): void {
  const url = outside(link.getAttribute("href"));
  const is_image = link.classList.contains("image");
  const words = link.textContent;
  link.removeAttribute("class");
  if (!url) {
    link.replaceWith(is_image ? `[image: ${words}]` : document.createTextNode(words));
    return;
  }
  if (is_image) link.textContent = `image: ${words}`;
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  link.title = url.href;
  link.dataset["outside"] = "";
  if (words.includes(url.host)) return;
  const host = document.createElement("span");
  host.className = "host";
  host.textContent = ` ${url.host}`;
  link.append(host);
}
