/** What the rounds behind a piece of a reply did, where the engine tells. */
export interface Round {
  /** Tokens drafted and verified. */
  num_draft_tokens: number;
  /** Of those, how many became text. */
  num_accepted_tokens: number;
  /** Tokens that the planner had drafted in the last of them. */
  planned_draft_tokens: number;
  /** Tokens a second that the planner expects of that, over those of plain decoding. */
  expected_speedup: number;
  /** Whether it only looked if guessing would pay. */
  look_only: boolean;
}
