/**
 * Pairs of published models that fit together: the same tokenizer, and a target of ten times the
 * draft's parameters. Sizes and licences are from the models' own cards, not measured here, and
 * repositories are others': what is really there is checked when it is loaded.
 */

/** A published model. */
export interface CatalogueModel {
  /** For `load`'s `target` or `draft`. */
  source: string;
  name: string;
  /** As its card says. */
  n_parameters: number;
  /** Of the file that `source` picks, about. */
  size_bytes: number;
  licence: string;
}

/** A target and the draft that guesses for it. */
export interface CataloguePair {
  id: string;
  target: CatalogueModel;
  draft: CatalogueModel;
  /** Both models' weights and a cache for `context_tokens`, about. */
  memory_bytes: number;
  context_tokens: number;
  /** What to know before choosing it. */
  note?: string;
}

/** What Q4_K_M and Q8_0 take for each weight, about (bits of a block over its length, in bytes). */
const BYTES_PER_WEIGHT = { Q4_K_M: 4.85 / 8, Q8_0: 8.5 / 8 } as const;
const CONTEXT_TOKENS = 4096;

interface Row {
  repository: string;
  quant: keyof typeof BYTES_PER_WEIGHT;
  name: string;
  parameters: number;
  licence: string;
  /** Bytes of cache for a token: 2 (keys and values) x layers x key-value heads x head width x 2 (f16). */
  cache: number;
}

function model({ repository, quant, name, parameters, licence }: Row): CatalogueModel {
  const size_bytes = Math.round(parameters * BYTES_PER_WEIGHT[quant]);
  return { source: `${repository}:${quant}`, name, n_parameters: parameters, size_bytes, licence };
}

function pair(id: string, target: Row, draft: Row, note?: string): CataloguePair {
  const cache = CONTEXT_TOKENS * (target.cache + draft.cache);
  const [made, guessing] = [model(target), model(draft)];
  return {
    id,
    target: made,
    draft: guessing,
    memory_bytes: made.size_bytes + guessing.size_bytes + cache,
    context_tokens: CONTEXT_TOKENS,
    ...(note === undefined ? {} : { note }),
  };
}

const cache = (layers: number, kv_heads: number, head_width: number) => 4 * layers * kv_heads * head_width;

export const PAIRS: readonly CataloguePair[] = [
  pair(
    "smollm2-1.7b",
    { repository: "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", quant: "Q4_K_M", name: "SmolLM2 1.7B Instruct", parameters: 1.71e9, licence: "Apache-2.0", cache: cache(24, 32, 64) },
    { repository: "bartowski/SmolLM2-135M-Instruct-GGUF", quant: "Q8_0", name: "SmolLM2 135M Instruct", parameters: 134.5e6, licence: "Apache-2.0", cache: cache(30, 3, 64) },
  ),
  pair(
    "qwen2.5-7b",
    { repository: "Qwen/Qwen2.5-7B-Instruct-GGUF", quant: "Q4_K_M", name: "Qwen2.5 7B Instruct", parameters: 7.62e9, licence: "Apache-2.0", cache: cache(28, 4, 128) },
    { repository: "Qwen/Qwen2.5-0.5B-Instruct-GGUF", quant: "Q8_0", name: "Qwen2.5 0.5B Instruct", parameters: 494e6, licence: "Apache-2.0", cache: cache(24, 2, 64) },
    "The two pad their vocabularies to different lengths.",
  ),
  pair(
    "qwen3-8b",
    { repository: "Qwen/Qwen3-8B-GGUF", quant: "Q4_K_M", name: "Qwen3 8B", parameters: 8.19e9, licence: "Apache-2.0", cache: cache(36, 8, 128) },
    { repository: "Qwen/Qwen3-0.6B-GGUF", quant: "Q8_0", name: "Qwen3 0.6B", parameters: 596e6, licence: "Apache-2.0", cache: cache(28, 8, 128) },
  ),
  pair(
    "gemma-3-4b",
    { repository: "ggml-org/gemma-3-4b-it-GGUF", quant: "Q4_K_M", name: "Gemma 3 4B", parameters: 3.88e9, licence: "Gemma", cache: cache(34, 4, 256) },
    { repository: "ggml-org/gemma-3-270m-it-GGUF", quant: "Q8_0", name: "Gemma 3 270M", parameters: 268e6, licence: "Gemma", cache: cache(18, 1, 256) },
    "Gemma's terms of use apply, and its repositories may ask for them to be accepted.",
  ),
];
