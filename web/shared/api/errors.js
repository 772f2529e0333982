/**
 * Errors of calls to the API, with a message for people.
 *
 * @typedef {"offline" | "timeout" | "cancelled" | "malformed" | "problem"} ErrorKind
 *   offline: no answer came. timeout: none came in time. cancelled: this page ended the call.
 *   malformed: the answer does not match the contract. problem: the API refused the call.
 */

/** A call without a usable answer. */
export class ApiError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message
   * @param {{status?: number, code?: string, retryAfter_s?: number | null,
   *   requestId?: string | null, transferId?: string | null, isFromApi?: boolean,
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
    /** Whether the answer was a problem document of the API, and not the page of a proxy. */
    this.isFromApi = more.isFromApi ?? false;
    this.errors = more.errors ?? [];
  }

  /** Whether the API refused the key. The 401 of a proxy says nothing about the key. */
  get isUnauthenticated() {
    return this.status === 401 && this.isFromApi;
  }

  /** Whether the same call may succeed later without a change. */
  get isTemporary() {
    return this.kind !== "problem" || this.status === 429 || this.status >= 500;
  }
}

const MESSAGES = {
  offline: "No connection to Truepenny.",
  timeout: "Truepenny did not answer in time.",
  cancelled: "The request was cancelled.",
  malformed: "Truepenny sent an answer that this page cannot read.",
  unauthenticated: "This API key is not valid. It may have been revoked or replaced.",
  forbidden: "This API key has no access to this.",
  not_found: "This does not exist, or this API key has no access to it.",
  rate_limited: "Too many requests at the moment.",
  overloaded: "Truepenny is overloaded at the moment.",
  unavailable: "The database is unavailable at the moment.",
  no_service: "Truepenny is unavailable at the moment.",
  too_large: "The request was too large.",
  internal_error: "An error occurred inside Truepenny. It was logged.",
};

/**
 * The error as one sentence for people.
 * @param {unknown} error
 * @returns {string}
 */
export function errorMessage(error) {
  if (!(error instanceof ApiError)) return "An error occurred on this page.";
  const own = error.kind === "problem" ? MESSAGES[error.code] : MESSAGES[error.kind];
  return own ?? (error.message || "Truepenny refused the request.");
}
