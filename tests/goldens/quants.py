"""Writes quants.gguf: blocks of every element type, and their values.

The blocks are random bytes, with scales from a list of extremes in the first of
them; the values are gguf-py's. The file itself is gguf-py's work too, so reading it
tests the reader. Run from anywhere: `python tests/goldens/quants.py`.
"""

import pathlib

import gguf
import numpy as np

# Where the half-precision scales of a block lie, in bytes.
SCALES = {
    "F32": [],
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "MXFP4": [],
}

# Zeros, subnormals, the smallest normal, one, the largest, infinities, a NaN.
EXTREMES = [
    0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00,
]  # fmt: skip


def blocks(name: str, rng: np.random.Generator) -> np.ndarray:
    """Random blocks, `[n, block_bytes]`."""
    n_elements, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    n = {1: 256, 32: 32, 256: 16}[n_elements]
    out = rng.integers(0, 256, size=(n, n_bytes), dtype=np.uint8)
    for at in SCALES[name]:
        ordinary = rng.normal(0, 0.05, size=n).astype(np.float16).view(np.uint16)
        # The second scale meets the extremes in another order than the first.
        order = EXTREMES if at == SCALES[name][0] else EXTREMES[::-1]
        ordinary[: len(EXTREMES)] = order
        out[:, at : at + 2] = ordinary.astype("<u2").view(np.uint8).reshape(n, 2)
    if name == "MXFP4":
        out[:8, 0] = [0, 1, 2, 127, 128, 253, 254, 255]
    if name == "F32":
        out[:4] = np.array([0x7F800000, 0xFF800000, 0x7FC00000, 1], "<u4").view(np.uint8).reshape(4, 4)
    if name == "BF16":
        out[:4] = np.array([0x7F80, 0xFF80, 0x7FC0, 1], "<u2").view(np.uint8).reshape(4, 2)
    return out


def main() -> None:
    rng = np.random.default_rng(20240607)
    path = pathlib.Path(__file__).with_name("quants.gguf")
    writer = gguf.GGUFWriter(path, "none")
    writer.add_array("golden.words", ["one", "", "drei ä"])
    writer.add_array("golden.numbers", [1, -2, 3])
    for name in SCALES:
        dtype = gguf.GGMLQuantizationType[name]
        raw = blocks(name, rng).reshape(1, -1)
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(raw, dtype)
        writer.add_tensor(name, raw, raw_dtype=dtype)
        writer.add_tensor(f"{name}.values", np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path.name}: {path.stat().st_size} bytes, gguf {gguf.__file__}")


if __name__ == "__main__":
    main()
