/** Small components that panels are built from: amounts, ids, badges, notices, dialogs. */
import { errorMessage } from "./api/errors.js";
import { groupAmount } from "./format/amounts.js";
import { absoluteTime, ago, duration, useNow } from "./format/times.js";
import { CheckIcon, CopyIcon, CrossIcon, DashIcon, WarnIcon } from "./icons.js";
import { shortId } from "./ids.js";
import { html, useEffect, useRef, useState } from "./view.js";

/** An amount with its asset. @param {{amount: string, asset?: string, sign?: boolean}} props */
export function Money({ amount, asset, sign = false, className = "" }) {
  return html`
    <span class="money ${className}">
      ${groupAmount(amount, { sign })}${asset && html`<span class="asset"> ${asset}</span>`}
    </span>
  `;
}

/** The age of an event, with its absolute time as a tooltip. @param {{at: string}} props */
export function TimeAgo({ at }) {
  const now = useNow();
  const then = Date.parse(at);
  return html`<time datetime=${at} title=${absoluteTime(then)}>${ago(then, now)}</time>`;
}

/** A shortened id with a button that copies all of it. @param {{id: string, what: string}} props */
export function Id({ id, what }) {
  return html`
    <span class="id"><code title=${id}>${shortId(id)}</code><${CopyButton} text=${id} what=${what} /></span>
  `;
}

/** @param {{text: string, what: string}} props what: "wallet id", for screen readers */
export function CopyButton({ text, what }) {
  const [outcome, setOutcome] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    setOutcome((await toClipboard(text)) ? "Copied" : "Copying failed");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setOutcome(""), 1500);
  };
  return html`
    <button type="button" class="copy" aria-label=${`Copy ${what}`} title=${`Copy ${what}`}
      onClick=${copy}><${OUTCOME_ICONS[outcome]} /></button>
    <span class="unseen" aria-live="polite">${outcome}</span>
  `;
}

const OUTCOME_ICONS = { "": CopyIcon, Copied: CheckIcon, "Copying failed": CrossIcon };

/** @param {string} text @returns {Promise<boolean>} whether it was copied */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text); // plain HTTP from another machine has no clipboard API
  }
}

function copySelected(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.className = "unseen";
  field.value = text;
  // Inside an open dialog, because text outside it cannot be selected.
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

/** Grey lines in place of text that is loading. @param {{lines: number}} props */
export function Skeleton({ lines = 3 }) {
  return html`
    <div class="skeleton" aria-hidden="true">
      ${Array.from({ length: lines }, (_, index) => html`<span key=${index} class="bone"></span>`)}
    </div>
    <p class="unseen">Loading…</p>
  `;
}

/** Placeholder for an empty list. @param {{title: string, children?: any}} props */
export function Empty({ title, children }) {
  return html`
    <div class="empty">
      <p class="empty-title">${title}</p>
      ${children && html`<p>${children}</p>`}
    </div>
  `;
}

/**
 * The age of a panel's data, shown only while it cannot be renewed.
 * @param {{polled: import("./api/polling.js").Polled}} props
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
        <span class="unseen">${errorMessage(polled.error)} Reconnecting.</span>
        <span aria-hidden="true" title=${errorMessage(polled.error)}>
          as of ${ago(polled.at, now)} · ${wait_s > 0 ? `retry in ${duration(wait_s)}` : "reconnecting"}
        </span>
      `}
    </p>
  `;
}

/**
 * A dialog that blocks the page until it is closed. The browser keeps the focus inside.
 * @param {{title: string, onClose: () => void, children: any}} props
 */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const opened = dialog.current;
    const before = document.activeElement;
    opened.showModal();
    return () => {
      opened.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`
    <dialog class="dialog" ref=${dialog} aria-labelledby="dialog-title" onCancel=${cancel}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </dialog>
  `;
}

const STATUS_ICONS = { good: CheckIcon, warn: WarnIcon, bad: CrossIcon, quiet: DashIcon };

/**
 * A status: an icon and a word, each of which is enough to understand it.
 * @param {{tone: "good" | "warn" | "bad" | "quiet", children: any}} props
 */
export function StatusMark({ tone, children }) {
  return html`<span class="mark-word ${tone}"><${STATUS_ICONS[tone]} />${children}</span>`;
}

/**
 * An id in full with a button that copies it. The first characters of ids can be equal, because
 * they are the time at which the id was made.
 * @param {{id: string, what: string}} props
 */
export function FullId({ id, what }) {
  return html`<span class="whole-id"><code>${id}</code><${CopyButton} text=${id} what=${what} /></span>`;
}
