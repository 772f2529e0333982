/**
 * Errors of this page, told to the server. Guarantees that reports are few whatever happens
 * (equal ones are counted together, at most REPORTS_PER_MINUTE are sent), that they carry no
 * key and no amount, and that a report which cannot be sent is dropped and never makes another.
 */
import { scrubMessage, scrubStack } from "./scrubbing.js";

const REPORTS_PER_MINUTE = 10;
const MAX_WAITING = 20;
const COLLECT_MS = 1000;
const MINUTE_MS = 60_000;
const MAX_COUNT = 10_000;

/** @type {Map<string, object>} what waits to be sent, by what makes two reports equal */
const waiting = new Map();
/** @type {number[]} when the last reports were sent */
let sent = [];
/* Both on the clock that nobody sets: one set back would end all reports. */
let pausedUntil = 0;
let timer = 0;

/**
 * Report an error. Never throws.
 * @param {{kind: "error" | "rejection" | "render", panel?: string | null, error: unknown}} what
 */
export function report({ kind, panel = null, error }) {
  try {
    const made = makeReport(kind, panel, error);
    const same = [kind, panel, made.name, made.message, made.stack?.split("\n")[0]].join("\n");
    const known = waiting.get(same);
    if (known) known.count = Math.min(known.count + 1, MAX_COUNT);
    else if (waiting.size < MAX_WAITING) waiting.set(same, made);
    if (!timer) timer = setTimeout(flush, COLLECT_MS);
  } catch {
    // An error that cannot even be read (a throwing getter) must not become the next one.
  }
}

/** Report what nobody caught. Call once, before anything else of the page runs. */
export function installReporting() {
  window.onerror = (message, source, line, column, error) => {
    report({ kind: "error", error: error ?? { name: "Error", message } });
    return false;
  };
  window.addEventListener("unhandledrejection", (event) => {
    report({ kind: "rejection", error: event.reason });
  });
}

function makeReport(kind, panel, error) {
  return {
    page: document.documentElement.dataset.page,
    panel,
    kind,
    name: scrubMessage(error?.name ?? typeof error).slice(0, 100) || "Error",
    message: scrubMessage(error?.message ?? error),
    stack: scrubStack(error?.stack),
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
      keepalive: true, // also while the page goes away
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 429) {
      const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 60;
      pausedUntil = performance.now() + Math.min(seconds, 3600) * 1000;
    }
  } catch {
    // Offline, most likely: a report is worth less than quiet.
  }
}
