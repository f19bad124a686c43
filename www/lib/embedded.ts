/**
 * The pair that ships with the package. A module of its own, so that a bundler takes
 * the weights along only where they are wanted.
 */
/**
 * Where the pair is: beside the package, or in `folder` (an address) under the same
 * names.
 *
 * ```ts
 * const engine = await Tandem.load({ ...embedded("https://example.com/models/"), device: "cpu" });
 * ```
 */
export function embedded(folder?: string | URL): { target: { url: string }; draft: { url: string } } {
  const at = (name: string, here: URL) => ({
    url: (folder === undefined ? here : new URL(name, folder)).href,
  });
  return {
    // Bundlers recognise exactly these expressions.
    target: at("tandem-target-q8_0.gguf", new URL("../../models/tandem-target-q8_0.gguf", import.meta.url)),
    draft: at("tandem-draft-q8_0.gguf", new URL("../../models/tandem-draft-q8_0.gguf", import.meta.url)),
  };
}
