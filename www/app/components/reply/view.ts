/** A reply as it is meant to be read, token by token, or as the model wrote it. */
export type View = "reply" | "tokens" | "source";
