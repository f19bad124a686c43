import type { ModelSource } from "tandem-llm";

/** The pair that ships with the page, where it does. */
export function shippedPair(): { target: ModelSource; draft?: ModelSource } | undefined {
  if (!__PAIR__) return undefined;
  const source = (file: string): ModelSource => ({ url: new URL(`models/${file}`, document.baseURI).href });
  const target = source(__PAIR__.target);
  return __PAIR__.draft ? { target, draft: source(__PAIR__.draft) } : { target };
}
