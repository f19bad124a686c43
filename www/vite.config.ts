import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  root: "app",
  base: "./",
  // The frames in which tools run, as they are.
  publicDir: "../sandbox/public",
  plugins: [svelte({ configFile: false })],
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
