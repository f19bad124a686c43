/**
 * The tools that ship. Their names, arguments and results are those that the pair that
 * ships was trained on (`models/README.md`). Each is a manifest whose code runs in the
 * sandbox; one of your own is another such manifest.
 */
import type { ToolManifest } from "../../lib/agent.ts";
import { clock } from "./clock.ts";
import { encyclopedia, weather, webPage } from "./web.ts";

export { clock, encyclopedia, weather, webPage };

/** The tools that need no expression library. */
export const lightTools: readonly ToolManifest[] = [clock, weather, encyclopedia, webPage];

/** All tools: calculator and unit conversion bring mathjs with them, which is loaded now. */
export async function shippedTools(): Promise<ToolManifest[]> {
  const { calculator, convert } = await import("./math.ts");
  return [calculator, clock, convert, weather, encyclopedia, webPage];
}
