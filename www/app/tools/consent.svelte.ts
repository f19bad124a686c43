/** What the person is asked while a run waits, one thing after the other. */
import type { Decision, PlanCard, RequestCard } from "tandem-llm";

/** A decision, or the plan as the person would have it: it is shown again before it counts. */
export type Answer = Decision | { plan: string };

export interface Question {
  card: RequestCard | PlanCard;
  answer: (answer: Answer) => void;
}

export class Consent {
  /** All that waits; the first is shown. */
  #waiting = $state.raw<readonly Question[]>([]);
  readonly first = $derived(this.#waiting[0]);

  /** Shows a card and waits for what the person says; where the run is stopped, that is no. */
  ask(card: RequestCard | PlanCard, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const question: Question = {
        card,
        answer: (answer) => {
          this.#waiting = this.#waiting.filter((other) => other !== question);
          resolve(answer);
        },
      };
      if (signal.aborted) {
        resolve(false);
        return;
      }
      signal.addEventListener("abort", () => question.answer(false), { once: true });
      this.#waiting = [...this.#waiting, question];
    });
  }
}
