import { existsSync, readdirSync } from "node:fs";
import { resolve } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** The pair in `models/`, which is served under that name: file names, or null where
 * the repository has none. */
function pair(): { target: string; draft: string | null } | null {
  const folder = resolve(import.meta.dirname, "../models");
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".gguf")) : [];
  const target = files.find((name) => name.includes("target"));
  if (!target) return null;
  return { target, draft: files.find((name) => name.includes("draft")) ?? null };
}

export default defineConfig({
  root: "app",
  base: "./",
  plugins: [svelte({ configFile: false })],
  define: { __PAIR__: JSON.stringify(pair()) },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    // Nothing inline: the page's policy allows no data: or inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
