/**
 * The client of the HTTP API. Guarantees that a call ends: with an answer of the shape asked
 * for, or with an ApiError, within its time-out. The key goes into a header and nowhere else.
 */
import { ApiError } from "./api_errors.js";
import { WrongShape } from "./shapes.js";

const TIMEOUT_S = 10;
/** A browser's timer takes 24 days at most and ends at once beyond, which would be a storm. */
const LONGEST_RETRY_AFTER_S = 86_400;

/**
 * @typedef {{shape: import("./shapes.js").Shape, signal?: AbortSignal, timeout_s?: number,
 *   headers?: Record<string, string>}} CallOptions
 */

export class Api {
  /**
   * @param {string} key the API key
   * @param {(error: ApiError) => void} onUnauthenticated told when the key is refused
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
    const forward = () => stop.abort("stopped");
    if (options.signal?.aborted) forward();
    options.signal?.addEventListener("abort", forward);
    try {
      return await this._exchange(method, path, body, options, stop.signal);
    } catch (error) {
      const failure = asApiError(error, stop.signal);
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
    return checked(document, options.shape, response, requestId);
  }
}

async function readJson(response, requestId) {
  const body = await response.text();
  try {
    return JSON.parse(body);
  } catch {
    // A proxy in between answers in HTML; what it says in its status still counts.
    if (!response.ok) return null;
    throw new ApiError("malformed", "The answer is not JSON.", {
      status: response.status,
      requestId,
    });
  }
}

function checked(document, shape, response, requestId) {
  try {
    return shape(document, "");
  } catch (error) {
    if (!(error instanceof WrongShape)) throw error;
    throw new ApiError("malformed", error.message, { status: response.status, requestId });
  }
}

function problemOf(response, document, requestId) {
  const problem = typeof document === "object" && document !== null ? document : {};
  return new ApiError("problem", textOr(problem.detail, `HTTP ${response.status}`), {
    status: response.status,
    code: textOr(problem.code, codeOf(response.status)),
    retryAfter_s: retryAfter(response),
    requestId: textOr(problem.request_id, requestId),
    transferId: textOr(problem.transfer_id, null),
    isContract: isProblem(response) && typeof problem.code === "string",
    errors: Array.isArray(problem.errors) ? problem.errors.filter(isFieldError) : [],
  });
}

/** Whether it is in the API's own format: gateways answer in JSON with a code, too. */
function isProblem(response) {
  return (response.headers.get("Content-Type") ?? "").startsWith("application/problem+json");
}

/** What a status means when no problem document came with it. */
function codeOf(status) {
  const codes = { 401: "unauthenticated", 403: "forbidden", 404: "not_found", 413: "too_large" };
  if (status === 429) return "rate_limited";
  return codes[status] ?? (status >= 500 ? "no_service" : "refused");
}

function retryAfter(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return seconds >= 0 ? Math.min(seconds, LONGEST_RETRY_AFTER_S) : null;
}

function isFieldError(error) {
  return typeof error?.pointer === "string" && typeof error?.detail === "string";
}

function textOr(value, otherwise) {
  return typeof value === "string" ? value : otherwise;
}

function asApiError(error, signal) {
  if (error instanceof ApiError) return error;
  if (signal.aborted) {
    const kind = signal.reason === "timeout" ? "timeout" : "stopped";
    return new ApiError(kind, kind === "timeout" ? "No answer in time." : "Stopped.");
  }
  return new ApiError("offline", "No connection.");
}
