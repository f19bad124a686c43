// Results -> a table in Markdown, and a chart.

const number = (x, digits = 1) => (x == null || Number.isNaN(x) ? '' : x.toFixed(digits));

/** One table a model. */
export function table({ results, models, versions, machine, options }) {
  const out = [`# Engines side by side\n`, `${machine.cpu}, ${machine.cores} cores; ${machine.browser}; ${Object.entries(versions).map(([k, v]) => `${k} ${v}`).join(', ')}.`,
    `Prompt ${options.prompt} tokens, reply ${options.tokens}, greedy, end of text ignored; medians of ${options.repeat} rounds in turns.`];
  for (const model of models) {
    const rows = results.filter((r) => r.model === model.name);
    if (rows.length === 0) continue;
    const head = ['engine', 'load s', 'first token s', 'prefill tokens/s', 'decode tokens/s', 'from-to', 'peak MB, loading', 'MB after', 'wasm MB (gzip)', 'note'];
    const body = rows.map((r) => [r.engine, number(r.load_s, 2), number(r.ttft_s, 3), number(r.prefill_tokens_per_s), number(r.decode_tokens_per_s),
      r.decode_range ? r.decode_range.map((x) => number(x)).join(' to ') : '', number(r.load_peak_mb, 0), number(r.memory_mb, 0), number(r.wasm_gzip_mb, 2),
      r.error ? `failed: ${r.error.split('\n')[0].slice(0, 100)}` : r.note ?? '']);
    out.push(`\n## ${model.title}; ${number(model.gguf_mb)} MB as GGUF\n`, [head, head.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n'));
  }
  return `${out.join('\n')}\n`;
}

const BAR = 22, GAP = 34, LEFT = 270, WIDTH = 420;

/** Decoding speed as bars, a group a model, each group on its own scale. */
export function chart({ results, models }) {
  const parts = [];
  let y = 30;
  for (const model of models) {
    const rows = results.filter((r) => r.model === model.name && r.decode_tokens_per_s);
    if (rows.length === 0) continue;
    const most = Math.max(...rows.map((r) => r.decode_tokens_per_s));
    parts.push(`<text x="12" y="${y}" class="title">${escape(model.title)}</text>`);
    y += 12;
    for (const row of rows) {
      const width = Math.max(1, (row.decode_tokens_per_s / most) * WIDTH);
      parts.push(`<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end">${escape(row.engine)}</text>`,
        `<rect x="${LEFT}" y="${y + 3}" width="${width.toFixed(1)}" height="${BAR - 7}" rx="2" class="${row.engine.startsWith('tandem') ? 'ours' : 'theirs'}"/>`,
        `<text x="${(LEFT + width + 6).toFixed(1)}" y="${y + 15}">${number(row.decode_tokens_per_s)}</text>`);
      y += BAR;
    }
    y += GAP;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + 70} ${y}" font-family="system-ui, sans-serif" font-size="12">
<style>text { fill: #222 } .title { font-weight: 600 } .ours { fill: #2f6f5e } .theirs { fill: #b9bfc4 } @media (prefers-color-scheme: dark) { text { fill: #ddd } .theirs { fill: #5b6269 } }</style>
<title>Decoding, tokens a second</title>
${parts.join('\n')}
</svg>
`;
}

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);
