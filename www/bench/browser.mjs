// A browser that does as it is told over HTTP. Nothing debugs it: what debugs a page keeps all that the page fetched,
// in the page's own memory.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync, spawn } from 'node:child_process';

const FLAGS = ['--headless=new', '--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-first-run'];

export const versionOf = (program) => execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();

/** What pages ask for and answer, by the name of their browser: to be served under /orders/ and /answers/. */
export function switchboard() {
  const lines = new Map();
  return {
    line(name) {
      const waiting = {};
      lines.set(name, waiting);
      const tell = () => {
        if (!waiting.order || !waiting.ask) return;
        waiting.ask.end(JSON.stringify(waiting.order));
        waiting.order = waiting.ask = undefined;
      };
      waiting.asked = (response) => { waiting.ask = response; tell(); };
      return (what, argument) => new Promise((resolve, reject) => {
        waiting.order = { what, argument };
        waiting.answered = ({ value, error }) => (error ? reject(new Error(error)) : resolve(value));
        tell();
      });
    },
    /** Whether the request was for this. */
    async take(request, response) {
      const [, kind, name] = /^\/(orders|answers)\/(\w+)$/.exec(request.url) ?? [];
      const waiting = lines.get(name);
      if (!waiting) return false;
      if (kind === 'orders') { waiting.asked(response); return true; }
      let text = '';
      for await (const piece of request) text += piece;
      response.end();
      waiting.answered(JSON.parse(text));
      return true;
    },
  };
}

let n_opened = 0;
const alive = new Set();
process.once('exit', () => { for (const child of alive) child.kill(); });

/** Starts one, with a profile of its own, on the page at `url`. `call(what, argument)` has the page do something. */
export function open(program, url, board) {
  const name = `b${n_opened++}`, call = board.line(name);
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tandem-bench-'));
  const child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`, `${url}?browser=${name}`], { stdio: 'ignore' });
  const gone = new Promise((_, reject) => { child.once('error', reject).once('exit', () => reject(new Error('the browser is gone'))); });
  gone.catch(() => {});
  alive.add(child.once('exit', () => alive.delete(child)));
  return {
    pid: child.pid,
    call: (what, argument) => Promise.race([call(what, argument), gone]),
    async close() {
      const over = new Promise((resolve) => { child.once('exit', resolve); });
      if (child.exitCode === null && child.signalCode === null && child.kill()) await over;
      // Its helpers may write for a moment more.
      await fs.promises.rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 }).catch(() => {});
    },
  };
}
