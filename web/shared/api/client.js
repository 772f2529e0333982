/**
 * The client of the HTTP API. Guarantees that each call ends within its time-out, with an
 * answer of the expected shape or with an ApiError. The key is sent in a header and nowhere else.
 */
import { ApiError } from "./errors.js";
import { WrongShape } from "./shapes.js";

const TIMEOUT_S = 10;
/**
 * A browser's timer holds at most 24 days. A longer one would end at once, and the page would
 * call the API without a pause.
 */
const MAX_RETRY_AFTER_S = 86_400;

/**
 * @typedef {{shape: import("./shapes.js").Shape, signal?: AbortSignal, timeout_s?: number,
 *   headers?: Record<string, string>}} CallOptions
 */

export class Api {
  /**
   * @param {string} key the API key
   * @param {(error: ApiError) => void} onUnauthenticated called when the key is refused
   */
  constructor(key, onUnauthenticated = () => {}) {
    this._key = key;
    this._onUnauthenticated = onUnauthenticated;
  }

  /** @param {string} path @param {CallOptions} options @returns {Promise<any>} */
  get(path, options) {
    return this._call("GET", path, undefined, options);
  }

  /** @param {string} path @param {unknown} body @param {CallOptions} options */
  post(path, body, options) {
    return this._call("POST", path, body, options);
  }

  async _call(method, path, body, options) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort("timeout"), (options.timeout_s ?? TIMEOUT_S) * 1000);
    const forward = () => stop.abort("cancelled");
    if (options.signal?.aborted) forward();
    options.signal?.addEventListener("abort", forward);
    try {
      return await this._exchange(method, path, body, options, stop.signal);
    } catch (error) {
      const failure = toApiError(error, stop.signal);
      if (failure.isUnauthenticated) this._onUnauthenticated(failure);
      throw failure;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", forward);
    }
  }

  async _exchange(method, path, body, options, signal) {
    const headers = {
      Accept: "application/json, application/problem+json",
      Authorization: `Bearer ${this._key}`,
      ...options.headers,
    };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
    const requestId = response.headers.get("X-Request-Id");
    const document = await readJson(response, requestId);
    if (!response.ok) throw problemOf(response, document, requestId);
    return validated(document, options.shape, response, requestId);
  }
}

async function readJson(response, requestId) {
  const body = await response.text();
  try {
    return JSON.parse(body);
  } catch {
    // A proxy on the way answers in HTML. Its status still counts.
    if (!response.ok) return null;
    throw new ApiError("malformed", "The answer is not JSON.", {
      status: response.status,
      requestId,
    });
  }
}

function validated(document, shape, response, requestId) {
  try {
    return shape(document, "");
  } catch (error) {
    if (!(error instanceof WrongShape)) throw error;
    throw new ApiError("malformed", error.message, { status: response.status, requestId });
  }
}

function problemOf(response, document, requestId) {
  const problem = typeof document === "object" && document !== null ? document : {};
  return new ApiError("problem", stringOr(problem.detail, `HTTP ${response.status}`), {
    status: response.status,
    code: stringOr(problem.code, codeOf(response.status)),
    retryAfter_s: retryAfter(response),
    requestId: stringOr(problem.request_id, requestId),
    transferId: stringOr(problem.transfer_id, null),
    isFromApi: isProblem(response) && typeof problem.code === "string",
    errors: Array.isArray(problem.errors) ? problem.errors.filter(isFieldError) : [],
  });
}

/** Whether the answer has the API's own format. Gateways also answer in JSON with a code. */
function isProblem(response) {
  return (response.headers.get("Content-Type") ?? "").startsWith("application/problem+json");
}

/** The error code for a status without a problem document. */
function codeOf(status) {
  const codes = { 401: "unauthenticated", 403: "forbidden", 404: "not_found", 413: "too_large" };
  if (status === 429) return "rate_limited";
  return codes[status] ?? (status >= 500 ? "no_service" : "refused");
}

function retryAfter(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return seconds >= 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) : null;
}

function isFieldError(error) {
  return typeof error?.pointer === "string" && typeof error?.detail === "string";
}

function stringOr(value, otherwise) {
  return typeof value === "string" ? value : otherwise;
}

function toApiError(error, signal) {
  if (error instanceof ApiError) return error;
  if (signal.aborted) {
    const kind = signal.reason === "timeout" ? "timeout" : "cancelled";
    return new ApiError(kind, kind === "timeout" ? "No answer in time." : "Cancelled.");
  }
  return new ApiError("offline", "No connection.");
}
