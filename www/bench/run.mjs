// Engines side by side in headless Chromium: a browser each, all loaded, then timed in turns, so that a slow minute of the machine
// meets them all. `cargo xtask bench` calls this:
//   node run.mjs --package FOLDER --harness PROGRAM --pair FOLDER --out FOLDER
//                [--models REGEX] [--engines REGEX] [--prompt 128] [--tokens 64] [--gpu-tokens 16] [--repeat 3] [--timeout 300]
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { open, switchboard, versionOf } from './browser.mjs';
import { ENGINES, MODELS } from './engines.mjs';
import { memoryMb, peakMb } from './memory.mjs';
import { writeOnnx } from './onnx.mjs';
import { chart, table } from './report.mjs';
import { serve } from './serve.mjs';

const { values: given } = parseArgs({ options: Object.fromEntries(
  ['package', 'harness', 'pair', 'out', 'models', 'engines', 'prompt', 'tokens', 'gpu-tokens', 'repeat', 'timeout', 'browser'].map((name) => [name, { type: 'string' }]),
) });
const count = (name, otherwise) => {
  const n = Number(given[name] ?? otherwise);
  if (!Number.isInteger(n) || n < 1) throw new Error(`--${name} must be a whole number above 0`);
  return n;
};
const options = { prompt: count('prompt', 128), tokens: count('tokens', 64), gpu_tokens: count('gpu-tokens', 16), repeat: count('repeat', 3), timeout_s: count('timeout', 300) };
const here = import.meta.dirname, peers = path.join(here, 'node_modules'), folder = path.join(given.out, 'models');
const isWanted = (pattern) => (thing) => new RegExp(pattern ?? '.').test(thing.name);
const models = MODELS.filter(isWanted(given.models)), wanted = ENGINES.filter(isWanted(given.engines));
const say = (line) => process.stderr.write(`${line}\n`);
const harness = (...args) => execFileSync(given.harness, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** The model's files in every format, made once. */
function prepare(model) {
  const own = path.join(folder, model.name), gguf = path.join(own, 'q8_0.gguf');
  fs.mkdirSync(own, { recursive: true });
  if (model.shape && !fs.existsSync(gguf)) harness('bench', '--shape', model.shape, '--quant', 'q8_0', '--write', gguf);
  if (!model.shape) fs.copyFileSync(path.join(given.pair, `${model.name}-q8_0.gguf`), gguf);
  if (model.draft) fs.copyFileSync(path.join(given.pair, 'tandem-draft-q8_0.gguf'), path.join(own, 'draft.gguf'));
  if (!fs.existsSync(path.join(own, 'config.json')) || !model.shape) writeOnnx(gguf, own);
  // Words of one length: the first of a round differs, so that no engine can reuse what it read before.
  const words = Array.from({ length: options.prompt * 4 }, (_, i) => ['once', 'upon', 'a', 'day', 'in', 'the', 'sun', 'we', 'sat', 'and', 'ran'][(i * 7) % 11]);
  const starts = ['Well', 'Now', 'So', 'And', 'But', 'Yet', 'Then', 'Here'];
  model.gguf_mb = fs.statSync(gguf).size / 1e6;
  model.prompts = Array.from({ length: options.repeat + 1 }, (_, round) => {
    const text = `${starts[round % starts.length]} ${round} ${words.slice(round).join(' ')}`;
    const ids = JSON.parse(harness('tokenize', '--model', gguf, '--text', text, '--json')).ids.slice(0, options.prompt);
    return { ids, text: JSON.parse(harness('tokenize', '--model', gguf, `--ids=${ids.join(',')}`, '--json')).text };
  });
  const at = `/models/${model.name}`;
  return { gguf: `${at}/q8_0.gguf`, onnx: model.name, draft: model.draft ? `${at}/draft.gguf` : undefined };
}

const sent = new Set(); // since it was cleared
const board = switchboard();
const site = await serve({ '/': here, '/node_modules/': peers, '/models/': folder, '/tandem/': given.package }, (file) => sent.add(file), board);

function openPage() {
  const browser = open(given.browser, `${site.url}/host.html`, board);
  return { browser, memory: () => memoryMb(browser.pid) };
}

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what} took over ${options.timeout_s} s`)), options.timeout_s * 1000); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** What a browser with an empty page takes: no engine's doing. */
const empty = openPage();
await within(empty.browser.call('idle'), 'an empty page');
await new Promise((resolve) => setTimeout(resolve, 2000));
const empty_mb = empty.memory();
await empty.browser.close();

async function start(engine, model, files) {
  const running = { engine, runs: [] };
  sent.clear();
  try {
    Object.assign(running, openPage());
    await within(running.browser.call('idle'), 'an empty page');
    const request = { ...engine, model: files, draft: engine.needs_draft ? files.draft : undefined };
    const started = running.browser.call('start', request);
    const peak = peakMb(running.memory);
    Object.assign(running, await within(started, 'loading').finally(() => { running.load_peak_mb = peak.stop(); }));
    // Engines load one after another: what was sent meanwhile is this one's.
    running.wasm_gzip_mb = [...sent].filter((file) => file.endsWith('.wasm')).reduce((sum, file) => sum + gzipMb(file), 0);
  } catch (error) { running.error = String(error.message); }
  return running;
}

const median = (values) => {
  const sorted = values.filter((x) => x != null).sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length === 0 ? null : sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

async function run(model) {
  const files = prepare(model);
  const engines = wanted.filter((e) => !(e.gpu && model.no_gpu) && !(e.needs_draft && !model.draft));
  const running = [];
  for (const engine of engines) { say(`${model.name}: loading ${engine.name}`); running.push(await start(engine, model, files)); }
  for (const [round, prompt] of model.prompts.entries()) { // the first round warms up
    for (const r of running.filter((r) => !r.error)) {
      try {
        const request = { ...prompt, n: r.engine.gpu ? options.gpu_tokens : options.tokens };
        const run = await within(r.browser.call('measure', request), 'a reply');
        if (round > 0) r.runs.push(run);
        say(`${model.name}: ${round ? `round ${round}` : 'warm-up'}, ${r.engine.name}: ${run.decode_tokens_per_s.toFixed(1)} tokens/s`);
      } catch (error) { r.error = String(error.message); }
    }
  }
  return Promise.all(running.map(async (r) => {
    const middle = (key) => median(r.runs.map((run) => run[key]));
    const speeds = r.runs.map((run) => run.decode_tokens_per_s);
    const above = (mb) => (r.error || empty_mb == null ? null : mb - empty_mb);
    const memory_mb = above(r.memory());
    await r.browser?.close();
    return {
      model: model.name, engine: r.engine.name, load_s: r.load_s, ttft_s: middle('ttft_s'), prefill_tokens_per_s: middle('prefill_tokens_per_s'),
      decode_tokens_per_s: middle('decode_tokens_per_s'), decode_range: speeds.length ? [Math.min(...speeds), Math.max(...speeds)] : null,
      load_peak_mb: above(r.load_peak_mb), memory_mb, wasm_gzip_mb: r.wasm_gzip_mb, info: r.info, error: r.error, note: fewer(r), runs: r.runs,
    };
  }));
}

/** What is to be said of an engine that did not get the threads it was asked to take: a build of ours without them. */
const fewer = ({ engine, info }) => (info?.threads < engine.threads ? `on ${info.threads}: TANDEM_THREADS=1 builds ours with threads` : undefined);
const gzipMb = (file) => gzipSync(fs.readFileSync(file)).length / 1e6;
const version = (name) => JSON.parse(fs.readFileSync(path.join(peers, name, 'package.json'), 'utf8')).version;
const report = {
  when: new Date().toISOString(), options, models, results: [], versions: Object.fromEntries(['@wllama/wllama', '@huggingface/transformers', 'onnxruntime-web'].map((n) => [n, version(n)])),
  machine: { cpu: os.cpus()[0]?.model, cores: os.cpus().length, browser: versionOf(given.browser) },
};
for (const model of models) {
  report.results.push(...await run(model));
  delete model.prompts;
  fs.writeFileSync(path.join(given.out, 'bench.json'), JSON.stringify(report, null, 1));
}
site.close();
fs.writeFileSync(path.join(given.out, 'bench.svg'), chart(report));
fs.writeFileSync(path.join(given.out, 'bench.md'), table(report));
console.log(table(report));
process.exit(0);
