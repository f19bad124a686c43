/** The bundlers that the package is tried with, as a person would call them. */
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What somebody's first page says. */
export const APP = `import { Tandem } from "tandem-llm";

const engine = await Tandem.load({ device: "cpu", contextTokens: 128 });
const stream = await engine.chat.completions.create({
  messages: [{ role: "user", content: "Tell me a story." }],
  max_tokens: 12,
  stream: true,
});
for await (const chunk of stream) document.body.append(chunk.choices[0]?.delta.content ?? "");
document.documentElement.dataset.threads = engine.capabilities.threads;
document.title = "done";
`;

function html(script: string, head = ""): string {
  return `<!doctype html><html><head><meta charset="utf-8" /><title>-</title><link rel="icon" href="data:," />${head}<script type="module" src="${script}"></script></head><body></body></html>`;
}

export type Bundler = "vite" | "webpack" | "esbuild" | "import map";

export const BUNDLERS: readonly Bundler[] = ["vite", "webpack", "esbuild", "import map"];

/** Builds `folder/app.js`, in which the package is installed; answers with the page's folder. */
export async function bundle(bundler: Bundler, folder: string): Promise<string> {
  const out = join(folder, "out");
  await mkdir(out, { recursive: true });
  await writeFile(join(folder, "app.js"), APP);
  switch (bundler) {
    case "vite": {
      await writeFile(join(folder, "index.html"), html("./app.js"));
      const { build } = await import("vite");
      await build({ root: folder, base: "./", configFile: false, logLevel: "error", build: { outDir: out } });
      return out;
    }
    case "webpack": {
      const { default: webpack } = await import("webpack");
      const stats = await new Promise<string>((resolve, reject) => {
        webpack(
          { mode: "production", context: folder, entry: "./app.js", output: { path: out, filename: "main.js" }, target: "web", performance: false },
          (error, stats) => {
            if (error) reject(error);
            else resolve(stats?.hasErrors() === true || stats?.hasWarnings() === true ? stats.toString() : "");
          },
        );
      });
      if (stats !== "") throw new Error(stats);
      await writeFile(join(out, "index.html"), html("./main.js"));
      return out;
    }
    case "esbuild": {
      const { build } = await import("esbuild");
      const js = join(out, "js");
      await build({
        absWorkingDir: folder,
        entryPoints: { main: "./app.js", worker: "tandem-llm/worker" },
        bundle: true,
        format: "esm",
        splitting: true,
        outdir: js,
        logLevel: "error",
      });
      const installed = join(folder, "node_modules/tandem-llm");
      const wasm = (await readdir(join(installed, "dist/wasm"))).filter((name) => name.endsWith("_bg.wasm"));
      for (const name of wasm) await cp(join(installed, "dist/wasm", name), join(js, "wasm", name));
      await cp(join(installed, "models"), join(out, "models"), { recursive: true });
      await writeFile(join(out, "index.html"), html("./js/main.js"));
      return out;
    }
    case "import map": {
      const map = { imports: { "tandem-llm": "./node_modules/tandem-llm/dist/index.js" } };
      await writeFile(join(folder, "index.html"), html("./app.js", `<script type="importmap">${JSON.stringify(map)}</script>`));
      return folder;
    }
  }
}
