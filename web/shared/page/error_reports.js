/**
 * Reports errors of this page to the server. Guarantees that there are few reports (equal ones
 * are counted together, at most REPORTS_PER_MINUTE are sent), that they contain no key and no
 * amount, and that a report which cannot be sent is dropped and never causes another.
 */

const REPORTS_PER_MINUTE = 10;
const MAX_WAITING = 20;
const COLLECT_MS = 1000;
const MINUTE_MS = 60_000;
const MAX_COUNT = 10_000;

/* Must not leave the browser: keys, amounts, and long random texts. The server redacts again. */
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;
const BEARER = /bearer\s+\S+/gi;
const KEY = /\btp_[\w-]*/g;
const RANDOM = /[\w-]{24,}/g;
const NUMBER = /\d[\d.,'\u00a0\u2009\u202f]*/g;
const FRAME = /^\s*at .*$|^.*@.*:\d+:\d+$/;
const ASSETS = /https?:\/\/[^/\s)]+\/assets\/\w+\//g;

const MAX_MESSAGE_LENGTH = 500;
const MAX_STACK_LENGTH = 4000;

/** @type {Map<string, object>} reports to send, by what makes two reports equal */
const waiting = new Map();
/** @type {number[]} the times of the last reports */
let sent = [];
/* Both are measured on performance.now(): a system clock that is set back must not end reports. */
let pausedUntil = 0;
let timer = 0;

/**
 * Report an error. Does not throw.
 * @param {{kind: "error" | "rejection" | "render", panel?: string | null, error: unknown}} details
 */
export function addErrorReport({ kind, panel = null, error }) {
  try {
    const made = makeReport(kind, panel, error);
    const same = [kind, panel, made.name, made.message, made.stack?.split("\n")[0]].join("\n");
    const known = waiting.get(same);
    if (known) known.count = Math.min(known.count + 1, MAX_COUNT);
    else if (waiting.size < MAX_WAITING) waiting.set(same, made);
    if (!timer) timer = setTimeout(flush, COLLECT_MS);
  } catch {
    // An error that cannot be read, such as one with a throwing getter, must not cause another.
  }
}

/** Report uncaught errors. Call once, before anything else of the page runs. */
export function installErrorReports() {
  window.onerror = (message, source, line, column, error) => {
    addErrorReport({ kind: "error", error: error ?? { name: "Error", message } });
    return false;
  };
  window.addEventListener("unhandledrejection", (event) => {
    addErrorReport({ kind: "rejection", error: event.reason });
  });
}

function makeReport(kind, panel, error) {
  return {
    page: document.documentElement.dataset.page,
    panel,
    kind,
    name: redactMessage(error?.name ?? typeof error).slice(0, 100) || "Error",
    message: redactMessage(error?.message ?? error),
    stack: redactStack(error?.stack),
    url: window.location.pathname,
    request_id: typeof error?.requestId === "string" ? error.requestId : null,
    count: 1,
  };
}

function flush() {
  timer = 0;
  const now = performance.now();
  sent = sent.filter((at) => now - at < MINUTE_MS);
  const room = now < pausedUntil ? 0 : REPORTS_PER_MINUTE - sent.length;
  for (const [same, made] of [...waiting].slice(0, room)) {
    waiting.delete(same);
    sent.push(now);
    send(made);
  }
  if (waiting.size) timer = setTimeout(flush, waitFor_ms(now));
}

function waitFor_ms(now) {
  return Math.max(COLLECT_MS, pausedUntil - now, (sent[0] ?? now) + MINUTE_MS - now);
}

async function send(made) {
  try {
    const response = await fetch("/client-errors", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(made),
      keepalive: true, // also while the page is being left
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 429) {
      const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 60;
      pausedUntil = performance.now() + Math.min(seconds, 3600) * 1000;
    }
  } catch {
    // Most likely offline. A lost report does no harm.
  }
}

/** @param {unknown} message @returns {string} */
export function redactMessage(message) {
  return String(message)
    .slice(0, MAX_MESSAGE_LENGTH * 4)
    .replace(BEARER, "[key]")
    .replace(KEY, "[key]")
    .replace(UUID, "[id]")
    .replace(RANDOM, "[long]")
    .replace(NUMBER, "#")
    .slice(0, MAX_MESSAGE_LENGTH);
}

/**
 * Keep only the lines that name a place in a file. The first lines of a stack repeat the message.
 * @param {unknown} stack @returns {string | null}
 */
export function redactStack(stack) {
  if (typeof stack !== "string") return null;
  const frames = stack.split("\n").filter((line) => FRAME.test(line));
  const places = frames.slice(0, 30).join("\n").replace(ASSETS, "/").replace(/\?[^:)\s]*/g, "");
  return places.replace(BEARER, "[key]").replace(KEY, "[key]").slice(0, MAX_STACK_LENGTH) || null;
}
