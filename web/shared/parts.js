/** The small parts that panels are made of. */
import { sentenceOf } from "./api_errors.js";
import { useNow } from "./clock.js";
import { absoluteTime, ago, duration, groupAmount, shortId } from "./format.js";
import { CheckIcon, CopyIcon, CrossIcon } from "./icons.js";
import { html, useEffect, useRef, useState } from "./view.js";

/** An amount with its asset. @param {{amount: string, asset?: string, sign?: boolean}} props */
export function Money({ amount, asset, sign = false, className = "" }) {
  return html`
    <span class="money ${className}">
      ${groupAmount(amount, { sign })}${asset && html`<span class="asset"> ${asset}</span>`}
    </span>
  `;
}

/** How long ago something was, with the absolute time in its title. @param {{at: string}} props */
export function TimeAgo({ at }) {
  const now = useNow();
  const then = Date.parse(at);
  return html`<time datetime=${at} title=${absoluteTime(then)}>${ago(then, now)}</time>`;
}

/** A shortened id with a button that copies all of it. @param {{id: string, what: string}} props */
export function Id({ id, what }) {
  return html`
    <span class="id"><code title=${id}>${shortId(id)}</code><${Copy} text=${id} what=${what} /></span>
  `;
}

/** @param {{text: string, what: string}} props what: "wallet id", for whoever does not see it */
export function Copy({ text, what }) {
  const [outcome, setOutcome] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    setOutcome((await toClipboard(text)) ? "Copied" : "Could not be copied");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setOutcome(""), 1500);
  };
  return html`
    <button type="button" class="copy" aria-label=${`Copy ${what}`} title=${`Copy ${what}`}
      onClick=${copy}><${OUTCOME_ICONS[outcome]} /></button>
    <span class="unseen" aria-live="polite">${outcome}</span>
  `;
}

const OUTCOME_ICONS = { "": CopyIcon, Copied: CheckIcon, "Could not be copied": CrossIcon };

/** @param {string} text @returns {Promise<boolean>} whether it is there */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text); // plain HTTP from another machine has no clipboard of its own
  }
}

function copySelected(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.className = "unseen";
  field.value = text;
  // Inside an open dialog: what lies below one cannot be selected.
  (before?.closest("dialog") ?? document.body).append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  before?.focus();
  return isCopied;
}

/** @param {{tone?: "good" | "warn" | "bad" | "info" | "quiet", children: any}} props */
export function Badge({ tone = "quiet", title, children }) {
  return html`<span class="badge ${tone}" title=${title}>${children}</span>`;
}

/** @param {{kind?: "problem" | "warning" | "info" | "good", title: string, children?: any}} props */
export function Notice({ kind = "info", title, children, ...rest }) {
  return html`
    <div class="notice ${kind}" ...${rest}>
      <p class="notice-title">${title}</p>
      ${children && html`<div class="notice-body">${children}</div>`}
    </div>
  `;
}

/** Grey lines where text will be. @param {{lines: number}} props */
export function Skeleton({ lines = 3 }) {
  return html`
    <div class="skeleton" aria-hidden="true">
      ${Array.from({ length: lines }, (_, index) => html`<span key=${index} class="bone"></span>`)}
    </div>
    <p class="unseen">Loading…</p>
  `;
}

/** What stands where nothing is yet. @param {{title: string, children?: any}} props */
export function Empty({ title, children }) {
  return html`
    <div class="empty">
      <p class="empty-title">${title}</p>
      ${children && html`<p>${children}</p>`}
    </div>
  `;
}

/**
 * How old a panel's data is, said only when it is not as fresh as it should be.
 * @param {{polled: import("./polling.js").Polled}} props
 */
export function Freshness({ polled }) {
  const now = useNow();
  const isLate = polled.error !== null && polled.at !== null;
  const wait_s = Math.ceil(((polled.retryAt ?? now) - now) / 1000);
  return html`
    <p class="freshness" aria-live="polite">
      ${isLate &&
      html`
        <span class="dot warn" aria-hidden="true"></span>
        <span class="unseen">${sentenceOf(polled.error)} Reconnecting.</span>
        <span aria-hidden="true" title=${sentenceOf(polled.error)}>
          as of ${ago(polled.at, now)} · ${wait_s > 0 ? `retry in ${duration(wait_s)}` : "reconnecting"}
        </span>
      `}
    </p>
  `;
}
