/** A plan as the person changes it, and as the engine reads it. */
import type { PlanCard } from "tandem-llm";

/** A step of a plan on the page. */
export interface DraftStep {
  /** As it stands on the card; evidence is named by it. */
  number: number;
  tool: string;
  said: string;
  arguments: { name: string; value: string; quoted: boolean }[];
}

const EVIDENCE = /#E(\d+)/g;

/** What a card says, to be changed. Of a value that JSON reads as something else than a
 * text, it is that. */
export function draftOf({ steps }: PlanCard): DraftStep[] {
  return steps.map(({ number, tool, said, arguments: given }) => ({
    number,
    tool,
    said,
    arguments: given.map(({ name, value }) => ({ name, value, quoted: !isNumber(value) })),
  }));
}

/** The steps that hang on what `number` finds. */
export function needing(steps: readonly DraftStep[], number: number): number[] {
  const needs = (step: DraftStep) =>
    step.arguments.some(({ value }) => [...value.matchAll(EVIDENCE)].some(([, of]) => Number(of) === number));
  return steps.filter((step) => step.number !== number && needs(step)).map((step) => step.number);
}

/** The plan in the form that models write it, its steps counted anew. */
export function planText(steps: readonly DraftStep[]): string {
  const now = new Map(steps.map(({ number }, at) => [number, at + 1]));
  const renamed = (text: string) => text.replace(EVIDENCE, (whole, of) => `#E${now.get(Number(of)) ?? whole.slice(2)}`);
  return steps
    .map(({ said, tool, arguments: given }, at) => {
      const values = Object.fromEntries(
        given.map(({ name, value, quoted }) => [name, quoted || !isNumber(value) ? renamed(value) : Number(value)]),
      );
      return `Plan: ${said.replace(/\s+/g, " ")}\n#E${at + 1} = ${tool}[${JSON.stringify(values)}]`;
    })
    .join("\n");
}

function isNumber(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}
