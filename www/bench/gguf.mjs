// Reads what `onnx.mjs` needs of a GGUF file: metadata, and tensors of F32, F16 and Q8_0 as floats.
// Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
import fs from 'node:fs';

const SCALARS = {
  0: ['readUInt8', 1], 1: ['readInt8', 1], 2: ['readUInt16LE', 2], 3: ['readInt16LE', 2], 4: ['readUInt32LE', 4], 5: ['readInt32LE', 4],
  6: ['readFloatLE', 4], 7: ['readUInt8', 1], 10: ['readBigUInt64LE', 8], 11: ['readBigInt64LE', 8], 12: ['readDoubleLE', 8],
};
const STRING = 8, ARRAY = 9;
const Q8_0_BYTES = 34, Q8_0_LENGTH = 32;

/** @returns {{ metadata: Record<string, any>, tensors: Map<string, { shape: number[], floats(): Float32Array }> }} shapes slowest first */
export function readGguf(file) {
  const bytes = fs.readFileSync(file);
  let at = 8; // past the magic and the version
  const scalar = (type) => {
    const [read, size] = SCALARS[type];
    const value = bytes[read](at);
    at += size;
    return typeof value === 'bigint' ? Number(value) : value;
  };
  const u64 = () => scalar(10);
  const string = () => { const n = u64(); at += n; return bytes.toString('utf8', at - n, at); };
  const value = (type) => {
    if (type === STRING) return string();
    if (type !== ARRAY) return scalar(type);
    const inner = scalar(4), n = u64();
    return Array.from({ length: n }, () => value(inner));
  };
  const n_tensors = u64(), n_keys = u64();
  const metadata = {};
  for (let i = 0; i < n_keys; i++) { const key = string(); metadata[key] = value(scalar(4)); }
  const found = Array.from({ length: n_tensors }, () => {
    const name = string(), shape = Array.from({ length: scalar(4) }, u64).reverse();
    return { name, shape, type: scalar(4), offset: u64() };
  });
  const alignment = metadata['general.alignment'] ?? 32, start = Math.ceil(at / alignment) * alignment;
  const tensors = new Map(found.map(({ name, shape, type, offset }) => [name, {
    shape, floats: () => floats(bytes, start + offset, type, shape.reduce((a, b) => a * b, 1), name),
  }]));
  return { metadata, tensors };
}

function floats(bytes, start, type, n, name) {
  const out = new Float32Array(n);
  if (type === 0) for (let i = 0; i < n; i++) out[i] = bytes.readFloatLE(start + 4 * i);
  else if (type === 1) for (let i = 0; i < n; i++) out[i] = half(bytes.readUInt16LE(start + 2 * i));
  else if (type === 8) {
    for (let i = 0, at = start; i < n; i += Q8_0_LENGTH, at += Q8_0_BYTES) {
      const scale = half(bytes.readUInt16LE(at));
      for (let j = 0; j < Q8_0_LENGTH; j++) out[i + j] = scale * bytes.readInt8(at + 2 + j);
    }
  } else throw new Error(`${name}: GGUF type ${type} is not among those that the bench reads`);
  return out;
}

/** IEEE 754 binary16. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
