// Who runs, in this order. `adapter` is a module of adapters/, the rest is handed to it; `where` it runs, as its users would have it.
const tandem = { adapter: 'tandem', where: 'page' }; // it and wllama have workers of their own
const wllama = { adapter: 'wllama', where: 'page', format: 'gguf' };
const transformers = { adapter: 'transformers', where: 'worker', format: 'onnx' };

export const ENGINES = [
  { name: 'tandem, CPU, 1 thread', ...tandem, device: 'cpu', speculation: 'off', threads: 1 },
  { name: 'tandem, CPU, 2 threads', ...tandem, device: 'cpu', speculation: 'off', threads: 2 },
  { name: 'tandem, CPU, speculative, 2 threads', ...tandem, device: 'cpu', speculation: 'auto', threads: 2, needs_draft: true },
  { name: 'wllama, 1 thread', ...wllama, threads: 1 },
  { name: 'wllama, 2 threads', ...wllama, threads: 2 },
  { name: 'transformers.js, wasm, 1 thread', ...transformers, device: 'wasm', threads: 1 },
  { name: 'transformers.js, wasm, 2 threads', ...transformers, device: 'wasm', threads: 2 },
  { name: 'tandem, WebGPU', ...tandem, device: 'gpu', speculation: 'off', gpu: true },
  { name: 'tandem, WebGPU, speculative', ...tandem, device: 'gpu', speculation: 'auto', gpu: true, needs_draft: true },
  { name: 'transformers.js, WebGPU', ...transformers, device: 'webgpu', threads: 1, gpu: true },
];

// What they run: random weights of a published shape (speed does not depend on what weights say), and the pair that ships.
export const MODELS = [
  { name: 'tandem-target', title: 'the pair that ships, 2.6M', draft: true },
  { name: '8m', title: 'a Llama of 8M, random weights', shape: '8m' },
  { name: 'smollm2-135m', title: 'SmolLM2 135M, random weights', shape: 'smollm2-135m', no_gpu: true },
];
