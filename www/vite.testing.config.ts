import { defineConfig } from "vite";

/** The page of `testing/`, beside the one that ships: `cargo xtask test` builds it. */
export default defineConfig({
  root: "testing",
  base: "./",
  publicDir: "../sandbox/public",
  build: { outDir: "../dist/testing", emptyOutDir: true, target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  worker: { format: "es" },
});
