/**
 * How a call to the API can fail, and what a person is told about it.
 *
 * @typedef {"offline" | "timeout" | "stopped" | "malformed" | "problem"} FailureKind
 *   offline: no answer came. timeout: none came in time. stopped: we ended it ourselves.
 *   malformed: an answer came that is not what the contract says. problem: the API said no.
 */

/** A call that brought no usable answer. */
export class ApiError extends Error {
  /**
   * @param {FailureKind} kind
   * @param {string} message
   * @param {{status?: number, code?: string, retryAfter_s?: number | null,
   *   requestId?: string | null, transferId?: string | null, isContract?: boolean,
   *   errors?: {pointer: string, detail: string}[]}} [more]
   */
  constructor(kind, message, more = {}) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = more.status ?? 0;
    this.code = more.code ?? kind;
    this.retryAfter_s = more.retryAfter_s ?? null;
    this.requestId = more.requestId ?? null;
    this.transferId = more.transferId ?? null;
    /** Whether a problem document of the API's own came, not a page of some proxy. */
    this.isContract = more.isContract ?? false;
    this.errors = more.errors ?? [];
  }

  /** Whether the key is not, or no longer, known. A proxy's 401 says nothing about the key. */
  get isUnauthenticated() {
    return this.status === 401 && this.isContract;
  }

  /** Whether the same call may succeed later, unchanged. */
  get mayPass() {
    return this.kind !== "problem" || this.status === 429 || this.status >= 500;
  }
}

const SENTENCES = {
  offline: "No connection to Truepenny.",
  timeout: "Truepenny did not answer in time.",
  stopped: "Stopped.",
  malformed: "Truepenny sent an answer that this page cannot read.",
  unauthenticated: "This API key is not valid, or no longer.",
  forbidden: "This API key may not see this.",
  not_found: "This is not there, or not visible with this API key.",
  rate_limited: "Too many requests just now.",
  overloaded: "Truepenny has too much to do right now.",
  unavailable: "The database is away right now.",
  no_service: "Truepenny cannot answer right now.",
  too_large: "That was too much at once.",
  internal_error: "Something went wrong inside Truepenny. It was logged.",
};

/**
 * Say in one plain sentence what went wrong.
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  if (!(error instanceof ApiError)) return "Something went wrong on this page.";
  const own = error.kind === "problem" ? SENTENCES[error.code] : SENTENCES[error.kind];
  return own ?? (error.message || "Truepenny refused this.");
}
