/**
 * What went wrong, in a form that programs can match on.
 *
 * `code` is the same string that Rust's `Code::as_str` gives (`tensor_missing`,
 * `aborted`, `internal`, ...), from the engine through the worker to the page.
 */
export class TandemError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TandemError";
    this.code = code;
  }
}

/** An error as it crosses between threads: classes do not survive that. */
export interface PlainError {
  code: string;
  message: string;
}

/** What to send about anything that was thrown. */
export function toPlain(thrown: unknown): PlainError {
  if (thrown instanceof Error) {
    // A trap (`WebAssembly.RuntimeError`) and any other surprise has no code of its
    // own: it is a defect of the engine.
    const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : "internal";
    return { code, message: thrown.message };
  }
  return { code: "internal", message: String(thrown) };
}

/** The error again, on the other side. */
export function fromPlain({ code, message }: PlainError): TandemError {
  return new TandemError(code, message);
}
