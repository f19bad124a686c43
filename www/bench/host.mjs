// The stopwatch, the same for every engine: on the page, or in a worker for engines that would block it.
let engine;

const here = {
  async idle() {},
  async start(options) {
    const adapter = await import(`./adapters/${options.adapter}.mjs`);
    const began = performance.now();
    engine = await adapter.load(options);
    return { load_s: (performance.now() - began) / 1000, info: engine.info };
  },
  async measure({ ids, text, n }) {
    const times = [];
    const began = performance.now();
    const made = await engine.generate({ ids, text, n, onToken: () => times.push(performance.now()) });
    const first_s = (times[0] - began) / 1000, rest_s = (times.at(-1) - times[0]) / 1000;
    return {
      ttft_s: first_s,
      prefill_tokens_per_s: made.prompt_tokens / first_s,
      decode_tokens_per_s: made.decode_tokens_per_s ?? (made.n_tokens - 1) / rest_s,
      prompt_tokens: made.prompt_tokens, n_tokens: made.n_tokens, text: made.text, own: made.own,
    };
  },
};

/** The same two functions, in a worker. */
function elsewhere() {
  const worker = new Worker('./host.mjs', { type: 'module' });
  const call = (name) => (argument) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.value));
    worker.onerror = (event) => reject(new Error(event.message ?? 'its worker failed'));
    worker.postMessage({ name, argument });
  });
  return { start: call('start'), measure: call('measure') };
}

/** Does what /orders says. */
async function obey() {
  const name = new URLSearchParams(location.search).get('browser');
  const tell = (answer) => fetch(`/answers/${name}`, { method: 'POST', body: JSON.stringify(answer) });
  for (let worker; ;) {
    const { what, argument } = await (await fetch(`/orders/${name}`)).json();
    if (what === 'start' && argument.where === 'worker') worker = elsewhere();
    const who = worker ?? here;
    await who[what](argument).then((value) => tell({ value }), (error) => tell({ error: String(error?.stack ?? error) }));
  }
}

if (globalThis.document) obey();
else {
  onmessage = async ({ data: { name, argument } }) => {
    try { postMessage({ value: await here[name](argument) }); } catch (error) { postMessage({ error: String(error?.stack ?? error) }); }
  };
}
