import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const OUT = resolve(import.meta.dirname, "dist");
const SERVICE_WORKER = "service-worker.js";

/** Tells the service worker which files there are, once there are. */
function listFiles(): Plugin {
  return {
    name: "tandem-list-files",
    apply: "build",
    closeBundle() {
      const files = readdirSync(OUT, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name !== SERVICE_WORKER)
        .map((entry) => join(entry.parentPath, entry.name));
      const hash = createHash("sha256");
      for (const file of files.sort()) hash.update(file).update(readFileSync(file));
      const build = { version: hash.digest("hex").slice(0, 16), files: files.map((file) => file.slice(OUT.length + 1)) };
      const path = join(OUT, SERVICE_WORKER);
      const source = readFileSync(path, "utf8");
      writeFileSync(path, `const __BUILD__=${JSON.stringify(build)};${source}`);
    },
  };
}

/** What an installed page has: names that stay, beside the page. */
function installable(): Plugin {
  const folder = resolve(import.meta.dirname, "app/installed");
  return {
    name: "tandem-installable",
    apply: "build",
    generateBundle() {
      for (const fileName of readdirSync(folder)) {
        this.emitFile({ type: "asset", fileName, source: readFileSync(join(folder, fileName)) });
      }
    },
    transformIndexHtml: {
      order: "post",
      handler: () => [{ tag: "link", attrs: { rel: "manifest", href: "./manifest.webmanifest" }, injectTo: "head" }],
    },
  };
}

/** KaTeX brings each font three times; every browser that runs this page reads woff2. */
function onlyWoff2(): Plugin {
  return {
    name: "tandem-only-woff2",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes("katex.min.css")) return undefined;
      return code.replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("[^"]*"\)/g, "");
    },
  };
}

export default defineConfig({
  root: "app",
  base: "./",
  // The frames in which tools run, as they are.
  publicDir: "../sandbox/public",
  plugins: [onlyWoff2(), svelte({ configFile: false }), installable(), listFiles()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2023",
    // Nothing inline: the page's policy allows no data: or inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        page: resolve(import.meta.dirname, "app/index.html"),
        "service-worker": resolve(import.meta.dirname, "app/offline/worker.ts"),
      },
      output: {
        // Its address is its name for life.
        entryFileNames: ({ name }) => (name === "service-worker" ? SERVICE_WORKER : "assets/[name]-[hash].js"),
      },
    },
  },
  worker: { format: "es" },
});
