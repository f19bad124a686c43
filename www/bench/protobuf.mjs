// Protocol Buffers' wire format, as far as ONNX needs it: https://protobuf.dev/programming-guides/encoding/
const VARINT = 0, LENGTH_DELIMITED = 2, FIXED32 = 5;

function varint(value) {
  const out = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do { out.push(Number(rest & 127n) | (rest > 127n ? 128 : 0)); rest >>= 7n; } while (rest);
  return Buffer.from(out);
}
const tag = (field, wire) => varint(field * 8 + wire);

/** Fields, in any nesting of lists -> a message's bytes. */
export const message = (...fields) => Buffer.concat(fields.flat(Infinity));
export const number = (field, value) => Buffer.concat([tag(field, VARINT), varint(value)]);
export const bytes = (field, value) => Buffer.concat([tag(field, LENGTH_DELIMITED), varint(value.length), value]);
export const text = (field, value) => bytes(field, Buffer.from(value));
export function floating(field, value) {
  const raw = Buffer.alloc(4);
  raw.writeFloatLE(value);
  return Buffer.concat([tag(field, FIXED32), raw]);
}
