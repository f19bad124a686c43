// A Llama in GGUF -> the ONNX graph and folder that transformers.js runs, with the same weights in float32.
//
// The graph is of the kind published for transformers.js (ONNX Runtime's GroupQueryAttention and fused norms, queries, keys and
// values in one product, the head on the last row alone). Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
import fs from 'node:fs';
import path from 'node:path';
import { readGguf } from './gguf.mjs';
import { bytes, floating, message, number, text } from './protobuf.mjs';

const FLOAT = 1, INT32 = 6, INT64 = 7;
const ORT = 'com.microsoft';

/** Writes `folder`/{config.json, generation_config.json, onnx/model.onnx, onnx/model.onnx_data}. */
export function writeOnnx(gguf, folder) {
  const { metadata, tensors } = readGguf(gguf);
  const architecture = metadata['general.architecture'];
  if (architecture !== 'llama') throw new Error(`${gguf}: the bench makes ONNX of llama only, not of ${architecture}`);
  const of = (key) => metadata[`llama.${key}`];
  const n_embd = of('embedding_length'), n_heads = of('attention.head_count'), n_kv_heads = of('attention.head_count_kv');
  const shape = {
    n_embd, n_heads, n_kv_heads, n_layers: of('block_count'), n_ff: of('feed_forward_length'), head_dim: of('attention.key_length') ?? n_embd / n_heads,
    n_vocab: tensors.get('token_embd.weight').shape[0], context_tokens: Math.min(2048, of('context_length')), theta: of('rope.freq_base') ?? 10000,
    epsilon: of('attention.layer_norm_rms_epsilon'), is_tied: !tensors.has('output.weight'),
  };
  const inner = path.join(folder, 'onnx');
  fs.mkdirSync(inner, { recursive: true });
  const data = new Data(path.join(inner, 'model.onnx_data'));
  fs.writeFileSync(path.join(inner, 'model.onnx'), model(shape, tensors, data));
  data.close();
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({
    model_type: 'llama', architectures: ['LlamaForCausalLM'], hidden_size: n_embd, num_hidden_layers: shape.n_layers, num_attention_heads: n_heads,
    num_key_value_heads: n_kv_heads, head_dim: shape.head_dim, intermediate_size: shape.n_ff, vocab_size: shape.n_vocab,
    max_position_embeddings: shape.context_tokens, tie_word_embeddings: shape.is_tied, 'transformers.js_config': { use_external_data_format: true },
  }));
  fs.writeFileSync(path.join(folder, 'generation_config.json'), '{}'); // no end of text: every run makes as many tokens as it is asked for
}

/** The weights' file, beside the graph. */
class Data {
  constructor(file) { this.name = path.basename(file); this.file = fs.openSync(file, 'w'); this.at = 0; }
  /** An initializer whose numbers are in this file. */
  tensor(name, dims, values) {
    const raw = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    fs.writeSync(this.file, raw);
    const entries = { location: this.name, offset: this.at, length: raw.length };
    this.at += raw.length;
    return message(
      dims.map((n) => number(1, n)), number(2, FLOAT), text(8, name),
      Object.entries(entries).map(([key, value]) => bytes(13, message(text(1, key), text(2, String(value))))), number(14, 1),
    );
  }
  close() { fs.closeSync(this.file); }
}

function model(shape, tensors, data) {
  const { n_embd, n_heads, n_kv_heads, n_layers, head_dim, n_vocab, context_tokens, epsilon } = shape;
  const initializers = [], nodes = [];
  const put = (name, dims, values) => { initializers.push(data.tensor(name, dims, values)); return name; };
  const int64 = (name, dims, value) => {
    const raw = Buffer.alloc(8);
    raw.writeBigInt64LE(BigInt(value));
    initializers.push(message(dims.map((n) => number(1, n)), number(2, INT64), text(8, name), bytes(9, raw)));
    return name;
  };
  /** Appends a node; its outputs are named after it. */
  const node = (op, name, inputs, { outputs = [name], domain = '', ...attributes } = {}) => {
    nodes.push(message(
      inputs.map((i) => text(1, i)), outputs.map((o) => text(2, o)), text(3, `/${name}`), text(4, op),
      Object.entries(attributes).map(([key, value]) => bytes(5, attribute(key, value))), text(7, domain),
    ));
    return name;
  };
  const vector = (name) => put(name, tensors.get(name).shape, tensors.get(name).floats());
  /** `x` `[rows, n_in]` times tensors `[n_out, n_in]` side by side, as `[n_in, sum of n_out]`. */
  const product = (name, x, matrices) => {
    const n_in = matrices[0].shape[1], n_out = matrices.reduce((n, m) => n + m.shape[0], 0);
    return node('MatMul', name, [x, put(`${name}.weight`, [n_in, n_out], transposed(matrices, n_in, n_out))]);
  };
  const matrix = (name, n_rotated = 0) => {
    const { shape: [n_out, n_in], floats } = tensors.get(name);
    return { shape: [n_out, n_in], values: n_rotated ? halves(floats(), n_rotated, n_out, n_in) : floats() };
  };

  const one = int64('one', [1], 1), at_one = int64('at_one', [], 1), last = int64('last', [], -1);
  const total = node('ReduceSum', 'mask_sum', ['attention_mask', one], { keepdims: 0 });
  const lengths = node('Cast', 'lengths', [node('Sub', 'last_positions', [total, one])], { to: INT32 });
  const width = node('Cast', 'width', [node('Gather', 'mask_width', [node('Shape', 'mask_shape', ['attention_mask']), at_one], { axis: 0 })], { to: INT32 });
  const [cos, sin] = rotations(shape).map((values, i) => put(['cos', 'sin'][i], [context_tokens, head_dim / 2], values));
  const embeddings = put('embeddings', [n_vocab, n_embd], tensors.get('token_embd.weight').floats());
  let residual = node('Gather', 'embed', [embeddings, 'input_ids']);
  let x = node('SimplifiedLayerNormalization', 'norm.0', [residual, vector('blk.0.attn_norm.weight')], { epsilon, axis: -1, stash_type: 1 });
  /** residual += y, and the norm of that. */
  const add_norm = (name, y, weight) => {
    const sum = `${name}.sum`;
    x = node('SkipSimplifiedLayerNormalization', name, [residual, y, vector(weight)], { domain: ORT, outputs: [name, '', '', sum], epsilon });
    residual = sum;
  };
  for (let l = 0; l < n_layers; l++) {
    const name = (part) => `blk.${l}.${part}.weight`;
    const qkv = product(`qkv.${l}`, x, [matrix(name('attn_q'), n_heads), matrix(name('attn_k'), n_kv_heads), matrix(name('attn_v'))]);
    const attended = node('GroupQueryAttention', `attention.${l}`,
      [qkv, '', '', `past_key_values.${l}.key`, `past_key_values.${l}.value`, lengths, width, cos, sin],
      { domain: ORT, outputs: [`attention.${l}`, `present.${l}.key`, `present.${l}.value`], num_heads: n_heads, kv_num_heads: n_kv_heads,
        scale: { float: head_dim ** -0.5 }, do_rotary: 1, rotary_interleaved: 0 });
    add_norm(`ffn_norm.${l}`, product(`output.${l}`, attended, [matrix(name('attn_output'))]), name('ffn_norm'));
    const gate = product(`gate.${l}`, x, [matrix(name('ffn_gate'))]), up = product(`up.${l}`, x, [matrix(name('ffn_up'))]);
    const silu = node('Mul', `silu.${l}`, [gate, node('Sigmoid', `sigmoid.${l}`, [gate])]);
    const down = product(`down.${l}`, node('Mul', `gated.${l}`, [silu, up]), [matrix(name('ffn_down'))]);
    add_norm(`norm.${l + 1}`, down, l + 1 < n_layers ? `blk.${l + 1}.attn_norm.weight` : 'output_norm.weight');
  }
  const row = node('Unsqueeze', 'last_row', [node('Gather', 'last_rows', [x, last], { axis: 1 }), one]);
  product('logits', row, [matrix(shape.is_tied ? 'token_embd.weight' : 'output.weight')]);

  const cache = (time, length) => Array.from({ length: n_layers }, (_, l) => ['key', 'value'].map((kind) =>
    valueInfo(`${time}.${l}.${kind}`, FLOAT, ['batch_size', n_kv_heads, length, head_dim]))).flat();
  const graph = message(
    nodes.map((n) => bytes(1, n)), text(2, 'llama'), initializers.map((i) => bytes(5, i)),
    [valueInfo('input_ids', INT64, ['batch_size', 'sequence_length']), valueInfo('attention_mask', INT64, ['batch_size', 'total_sequence_length']),
      ...cache('past_key_values', 'past_sequence_length')].map((i) => bytes(11, i)),
    [valueInfo('logits', FLOAT, ['batch_size', 1, n_vocab]), ...cache('present', 'total_sequence_length')].map((o) => bytes(12, o)),
  );
  const opsets = [['', 21], [ORT, 1]].map(([domain, version]) => bytes(8, message(text(1, domain), number(2, version))));
  return message(number(1, 10), text(2, 'tandem bench'), bytes(7, graph), opsets);
}

/** An integer, or `{ float }`, or (anything with a fraction) a float. */
function attribute(name, value) {
  const is_float = typeof value === 'object' || !Number.isInteger(value);
  return message(text(1, name), is_float ? floating(2, value.float ?? value) : number(3, value), number(20, is_float ? 1 : 2));
}

function valueInfo(name, type, dims) {
  const shape = message(dims.map((d) => bytes(1, typeof d === 'number' ? message(number(1, d)) : message(text(2, d)))));
  return message(text(1, name), bytes(2, message(bytes(1, message(number(1, type), bytes(2, shape))))));
}

function transposed(matrices, n_in, n_out) {
  const out = new Float32Array(n_in * n_out);
  let column = 0;
  for (const { shape: [n_rows], values } of matrices) {
    for (let r = 0; r < n_rows; r++, column++) for (let i = 0; i < n_in; i++) out[i * n_out + column] = values[r * n_in + i];
  }
  return out;
}

/** llama.cpp rotates neighbouring rows of a head, Hugging Face's models the head's two halves. */
function halves(values, n_heads, n_out, n_in) {
  const out = new Float32Array(values.length), d = n_out / n_heads;
  for (let r = 0; r < n_out; r++) {
    const head = Math.floor(r / d), i = r % d;
    out.set(values.subarray(r * n_in, (r + 1) * n_in), (head * d + (i % 2) * (d / 2) + (i >> 1)) * n_in);
  }
  return out;
}

/** cos and sin of position times frequency, `[context, head_dim / 2]` each. */
function rotations({ context_tokens, head_dim, theta }) {
  const n = head_dim / 2, angle = (i) => Math.floor(i / n) * theta ** (-(i % n) / n);
  return [Math.cos, Math.sin].map((f) => Float32Array.from({ length: context_tokens * n }, (_, i) => f(angle(i))));
}
