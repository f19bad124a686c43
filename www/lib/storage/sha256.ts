/**
 * SHA-256 (FIPS 180-4) of bytes that come in pieces: the browser's own `crypto.subtle`
 * wants them all at once, and a model does not fit.
 */
const K = constants();

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
function constants(): Uint32Array {
  const found = new Uint32Array(64);
  let n = 0;
  for (let candidate = 2; n < 64; candidate += 1) {
    let prime = true;
    for (let i = 2; i * i <= candidate; i += 1) if (candidate % i === 0) prime = false;
    if (prime) found[n++] = (Math.cbrt(candidate) % 1) * 2 ** 32;
  }
  return found;
}

export class Sha256 {
  readonly #state = new Int32Array([
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  ]);
  readonly #words = new Int32Array(64);
  readonly #block = new Uint8Array(64);
  #n_block = 0;
  #n_bytes = 0;

  update(bytes: Uint8Array): this {
    this.#n_bytes += bytes.length;
    let at = 0;
    if (this.#n_block > 0) {
      at = Math.min(64 - this.#n_block, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#n_block);
      this.#n_block += at;
      if (this.#n_block < 64) return this;
      this.#compress(this.#block, 0);
      this.#n_block = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
    this.#n_block = bytes.length - at;
    return this;
  }

  /** The digest in hexadecimal. Nothing may be added after that. */
  hex(): string {
    const n_bits = BigInt(this.#n_bytes) * 8n;
    const padding = new Uint8Array(((119 - (this.#n_bytes % 64)) % 64) + 9);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, n_bits);
    this.update(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#words;
    // Every index below is within these arrays' lengths.
    const get = (array: Int32Array | Uint32Array | Uint8Array, i: number) => array[i] as number;
    for (let i = 0; i < 16; i += 1) {
      const j = at + 4 * i;
      w[i] = (get(bytes, j) << 24) | (get(bytes, j + 1) << 16) | (get(bytes, j + 2) << 8) | get(bytes, j + 3);
    }
    for (let i = 16; i < 64; i += 1) {
      const x = get(w, i - 15);
      const y = get(w, i - 2);
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (get(w, i - 16) + s0 + get(w, i - 7) + s1) | 0;
    }
    const state = this.#state;
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + get(K, i) + get(w, i)) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = (get(state, i) + word) | 0));
  }
}
