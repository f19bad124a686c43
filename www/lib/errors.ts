/**
 * What went wrong, in a form that programs can match on.
 *
 * `code` is the same string that Rust's `Code::as_str` gives (`tensor_missing`,
 * `aborted`, `internal`, ...), from the engine through the worker to the page. `status`,
 * `type` and `param` are what OpenAI's interface says of the same error.
 */
export class TandemError extends Error {
  /** The engine's stable code. */
  readonly code: string;
  /** The HTTP status that `engine.fetch` answers with. */
  readonly status: number;
  /** `invalid_request_error`, `server_error` or `aborted`. */
  readonly type: string;
  /** The field at fault, such as `messages[2].role`, where one is. */
  readonly param: string | null;

  constructor(code: string, message: string, about: Partial<Pick<TandemError, "status" | "type" | "param">> = {}) {
    super(message);
    this.name = "TandemError";
    this.code = code;
    const aborted = code === "aborted";
    this.status = about.status ?? (aborted ? 499 : 500);
    this.type = about.type ?? (aborted ? "aborted" : "server_error");
    this.param = about.param ?? null;
  }
}

/** An error as it crosses between threads: classes do not survive that. */
export interface PlainError {
  code: string;
  message: string;
  status?: number;
  type?: string;
  param?: string | null;
}

/** What to send about anything that was thrown. */
export function toPlain(thrown: unknown): PlainError {
  if (!(thrown instanceof Error)) return { code: "internal", message: String(thrown) };
  // A trap (`WebAssembly.RuntimeError`) and any other surprise has no code of its own:
  // it is a defect of the engine.
  const { code, status, type, param } = thrown as Error & Partial<Record<"code" | "status" | "type" | "param", unknown>>;
  return {
    code: typeof code === "string" ? code : "internal",
    message: thrown.message,
    ...(typeof status === "number" ? { status } : {}),
    ...(typeof type === "string" ? { type } : {}),
    ...(typeof param === "string" ? { param } : {}),
  };
}

/** The error again, on the other side. */
export function fromPlain({ code, message, ...about }: PlainError): TandemError {
  return new TandemError(code, message, about);
}
