// Ours, from the package as it ships. options: device, speculation, threads
export async function load({ model, draft, device, speculation, threads }) {
  const { Tandem } = await import('/tandem/index.js');
  const at = (file) => ({ url: new URL(file, location.href).href });
  const engine = await Tandem.load({ target: at(model.gguf), ...(draft ? { draft: at(draft) } : {}), device, threads, contextTokens: 512 });
  return {
    info: { device: engine.capabilities.device, threads: engine.capabilities.threads },
    async generate({ ids, n, onToken }) {
      const stream = await engine.completions.create({
        prompt: ids, max_tokens: n, temperature: 0, ignore_eos: true, stream: true, stream_options: { include_usage: true },
        speculation: { mode: speculation },
      });
      let text = '', last;
      for await (const piece of stream) {
        if (piece.choices[0]?.text) { onToken(); text += piece.choices[0].text; }
        last = piece;
      }
      return { text, prompt_tokens: last.usage.prompt_tokens, n_tokens: last.usage.completion_tokens, own: { ...last.timings, ...last.speculation } };
    },
  };
}
