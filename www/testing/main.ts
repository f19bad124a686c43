/** The library and the clients that run on it, for the specs in `tests/page` to drive:
 * built by `vite.testing.config.ts`, and never part of the page that ships. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import OpenAI from "openai";
import { Tandem, TandemError } from "tandem-llm";
import { createSandbox, shippedTools } from "../sandbox/index.ts";

const ai = { createOpenAICompatible, generateText, isStepCount, jsonSchema, Output, streamText, tool };

/** What `page.evaluate` finds on the window. */
export interface Testing {
  Tandem: typeof Tandem;
  TandemError: typeof TandemError;
  OpenAI: typeof OpenAI;
  ai: typeof ai;
  createSandbox: typeof createSandbox;
  shippedTools: typeof shippedTools;
  engine: Tandem;
}

declare global {
  interface Window {
    testing: Testing;
  }
}

// The pair that ships, as anyone would load it; `?bare` leaves loading to the spec.
const engine = location.search === "?bare" ? (undefined as unknown as Tandem) : await Tandem.load({ device: "cpu", contextTokens: 1024 });
window.testing = { Tandem, TandemError, OpenAI, ai, createSandbox, shippedTools, engine };
