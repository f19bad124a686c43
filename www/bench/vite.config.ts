import { defineConfig } from "vite";

/** The package as a module of its own, as an application would bundle it. */
export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  build: {
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: "../lib/index.ts", preserveEntrySignatures: "strict", output: { entryFileNames: "index.js" } },
  },
  worker: { format: "es" },
});
