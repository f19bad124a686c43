// transformers.js on ONNX Runtime Web. options: device ('wasm' or 'webgpu'), threads
export async function load({ model, device, threads }) {
  const { env, AutoModelForCausalLM, Tensor } = await import('/node_modules/@huggingface/transformers/dist/transformers.js');
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, useBrowserCache: false, useWasmCache: false });
  env.localModelPath = new URL('/models/', location.href).href;
  const { wasm } = env.backends.onnx;
  wasm.wasmPaths = new URL('/node_modules/onnxruntime-web/dist/', location.href).href;
  Object.assign(wasm, { numThreads: threads, proxy: false });
  const engine = await AutoModelForCausalLM.from_pretrained(model.onnx, { device, dtype: 'fp32' });
  return {
    info: { threads },
    async generate({ ids, n, onToken }) {
      const row = (values) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
      let is_prompt = true; // the streamer is handed the prompt first
      const streamer = { put() { if (is_prompt) is_prompt = false; else onToken(); }, end() {} };
      await engine.generate({ input_ids: row(ids), attention_mask: row(ids.map(() => 1)), max_new_tokens: n, do_sample: false, eos_token_id: null, streamer });
      return { prompt_tokens: ids.length, n_tokens: n };
    },
  };
}
