// wllama: llama.cpp compiled to wasm, in a worker of its own. options: threads
export async function load({ model, threads }) {
  const { Wllama } = await import('/node_modules/@wllama/wllama/esm/index.js');
  const lines = []; // llama.cpp says why it failed in its log alone
  const logger = Object.fromEntries(['debug', 'log', 'warn', 'error'].map((level) => [level, (...words) => lines.push(words.join(' '))]));
  const wasm = new URL('/node_modules/@wllama/wllama/esm/wasm/wllama.wasm', location.href).href;
  const engine = new Wllama({ default: wasm }, { logger, suppressNativeLog: false });
  const blob = await (await fetch(model.gguf)).blob();
  try {
    await engine.loadModel([blob], { n_ctx: 512, n_batch: 512, n_threads: threads, n_gpu_layers: 0 });
  } catch (error) {
    throw new Error(`${error.message}\n${lines.slice(-15).join("\n")}`, { cause: error });
  }
  return {
    info: { threads: engine.getNumThreads() },
    async generate({ text: prompt, n, onToken }) { // it takes text only
      let own, text = '';
      await engine.createCompletion({
        prompt, max_tokens: n, temperature: 0, stream: true, ignore_eos: true, cache_prompt: false,
        onData(piece) { onToken(); text += piece.choices[0]?.text ?? ''; own = piece.timings ?? own; },
      });
      // Its first event comes late: what it says of itself is fairer to it than our stopwatch.
      return { text, prompt_tokens: own?.prompt_n, n_tokens: own?.predicted_n, decode_tokens_per_s: own?.predicted_per_second, own };
    },
  };
}
