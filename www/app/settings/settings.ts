/** How replies are made: what a conversation carries along. */
import type { SpeculationParams } from "tandem-llm";

/** How a model uses tools: it calls them as it sees fit; in thoughts, actions and
 * observations; or by a plan that is confirmed as a whole. */
export const STRATEGIES = ["tools", "react", "rewoo"] as const;
export type Strategy = (typeof STRATEGIES)[number];

export interface Settings {
  /** Said before everything else; empty for nothing. */
  system: string;
  /** 0 takes the likeliest token each time. */
  temperature: number;
  top_p: number;
  /** 0: all. */
  top_k: number;
  min_p: number;
  /** 1: none. */
  repetition_penalty: number;
  presence_penalty: number;
  frequency_penalty: number;
  max_tokens: number;
  /** Null: another each time. */
  seed: number | null;
  /** Texts that end a reply. */
  stop: string[];
  /** A JSON schema that replies are held to; empty for none. */
  schema: string;
  thinking: boolean;
  speculation: "auto" | "off" | "fixed" | "tree";
  /** Tokens a round, with `fixed`. */
  draft_length: number;
  drafter: NonNullable<SpeculationParams["drafter"]> | "default";
  verification: NonNullable<SpeculationParams["verification"]>;
  /** Whether the probability of every token is kept. */
  inspect: boolean;
  /** The tools that may be called, by name; null: those that suit the model. */
  tools: string[] | null;
  strategy: Strategy;
}

export const DEFAULTS: Settings = {
  system: "",
  temperature: 0.7,
  top_p: 0.95,
  top_k: 0,
  min_p: 0.05,
  repetition_penalty: 1.1,
  presence_penalty: 0,
  frequency_penalty: 0,
  max_tokens: 512,
  seed: null,
  stop: [],
  schema: "",
  thinking: true,
  speculation: "auto",
  draft_length: 4,
  drafter: "default",
  verification: "exact",
  inspect: true,
  tools: null,
  strategy: "tools",
};

/** Settings under a name; what it does not mention stays. */
export interface Preset {
  name: string;
  about: string;
  settings: Partial<Settings>;
}

const SAMPLING = {
  temperature: DEFAULTS.temperature,
  top_p: DEFAULTS.top_p,
  top_k: DEFAULTS.top_k,
  min_p: DEFAULTS.min_p,
  repetition_penalty: DEFAULTS.repetition_penalty,
};

export const PRESETS: readonly Preset[] = [
  { name: "Balanced", about: "Varied, and seldom astray", settings: SAMPLING },
  {
    name: "Precise",
    about: "The likeliest word each time; the same reply again",
    settings: { ...SAMPLING, temperature: 0, repetition_penalty: 1 },
  },
  {
    name: "Inventive",
    about: "Takes chances",
    settings: { ...SAMPLING, temperature: 1.1, top_p: 1, min_p: 0.03 },
  },
];

/** What is stored may be older than the page, or not of its making: whatever does not fit
 * is as it was by default. */
export function settingsFrom(stored: unknown): Settings {
  const settings = structuredClone(DEFAULTS);
  if (typeof stored !== "object" || stored === null) return settings;
  const given = stored as Record<string, unknown>;
  const slots = settings as unknown as Record<string, unknown>;
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = given[name];
    if (fits(name as keyof Settings, value, usual)) slots[name] = structuredClone(value);
  }
  return settings;
}

const WORDS: Partial<Record<keyof Settings, readonly string[]>> = {
  speculation: ["auto", "off", "fixed", "tree"],
  drafter: ["default", "model", "ngram", "both"],
  verification: ["exact", "rejection"],
  strategy: STRATEGIES,
};

function fits(name: keyof Settings, value: unknown, usual: unknown): boolean {
  if (name === "seed") return value === null || Number.isSafeInteger(value);
  if (name === "tools" && value === null) return true;
  if (name === "stop" || name === "tools") return Array.isArray(value) && value.every((text) => typeof text === "string");
  if (typeof value === "number" && !Number.isFinite(value)) return false;
  return typeof value === typeof usual && (WORDS[name]?.includes(value as string) ?? true);
}
