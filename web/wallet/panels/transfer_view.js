/** View of one sent transfer: its steps with their times, and what the person can do. */
import { failureText, walletName } from "../../shared/format/labels.js";
import { absoluteTime, duration, shortTime, useNow } from "../../shared/format/times.js";
import { ArrowIcon, CheckIcon, CrossIcon } from "../../shared/icons.js";
import { Badge, Id, Money, Notice } from "../../shared/parts.js";
import { html, useEffect, useRef } from "../../shared/view.js";
import { entryBadge, entryMessage, entryState } from "../entry_labels.js";

/**
 * @param {object} props
 * @param {import("../outbox_store.js").Entry} props.entry
 * @param {import("../outbox.js").Outbox} props.outbox
 * @param {object[]} props.wallets
 * @param {() => void} props.onNew @param {() => void} props.onCorrect
 */
export function TransferView({ entry, outbox, wallets, onNew, onCorrect }) {
  const heading = useRef(null);
  // The form that had the focus is gone, so the focus moves here.
  useEffect(() => heading.current?.focus(), [entry.key]);
  const { tone, label } = entryBadge(entry);
  return html`
    <div class="transfer" data-phase=${entry.phase} data-state=${entryState(entry)}>
      <div class="transfer-sum">
        <h3 ref=${heading} tabindex="-1"><${Money} amount=${entry.body.amount} asset=${entry.body.asset} /></h3>
        <${Badge} tone=${tone}>${label}</>
      </div>
      <p class="transfer-way">
        <bdi>${walletName(entry.body.source, wallets)}</bdi><${ArrowIcon} />
        <span class="unseen">to</span><bdi>${walletName(entry.body.destination, wallets)}</bdi>
      </p>
      <p class="unseen" role="status">${entryMessage(entry)}</p>
      ${entry.phase !== "refused" && html`<${Steps} transfer=${entry.transfer} />`}
      <${EntryNotice} entry=${entry} outbox=${outbox} />
      <${Facts} entry=${entry} />
      <div class="transfer-buttons">
        ${entry.phase === "sending" &&
        html`<button class="button" onClick=${() => outbox.stop(entry.key)}>Stop retrying</button>`}
        ${outbox.canResume(entry) &&
        html`<button class="button primary" onClick=${() => outbox.resume(entry.key)}>
          Continue this transfer
        </button>`}
        ${entry.phase === "refused" &&
        html`<button class="button primary" onClick=${onCorrect}>Correct it</button>`}
        ${entry.phase !== "sending" &&
        html`<button class="button" onClick=${onNew}>New transfer</button>`}
      </div>
    </div>
  `;
}

const STEPS = [
  { event: "reserved", label: "Reserve", meaning: "set aside in the source wallet" },
  { event: "deducted", label: "Deduct", meaning: "taken from the source wallet" },
  { event: "credited", label: "Credit", meaning: "added to the destination wallet" },
  { event: "committed", label: "Commit", meaning: "available to spend" },
];

/**
 * @typedef {object} Step
 * @property {string} label
 * @property {string} meaning
 * @property {"done" | "current" | "waiting" | "failed" | "undone"} status
 * @property {string | null} at
 * @property {number | null} after_s since the transfer was accepted
 */

/**
 * The status of each step, from the timeline.
 * @param {object | null} transfer with its timeline @returns {Step[]}
 */
function stepsFromTimeline(transfer) {
  const times = new Map(transfer?.timeline.map(({ event, at }) => [event, at]));
  const start = Date.parse(times.get("accepted") ?? transfer?.created_at ?? "");
  const failed = transfer?.state === "rejected" || transfer?.state === "rolled_back";
  let isAfterCurrent = false; // the first step that is not done is the current one
  return STEPS.map(({ event, label, meaning }) => {
    const at = times.get(event) ?? null;
    if (at) {
      const status = transfer.state === "rolled_back" ? "undone" : "done";
      return { label, meaning, status, at, after_s: (Date.parse(at) - start) / 1000 };
    }
    const isCurrent = !isAfterCurrent && transfer !== null && transfer.state !== "buffered";
    isAfterCurrent = true;
    const status = isCurrent ? (failed ? "failed" : "current") : "waiting";
    return { label, meaning, status, at: null, after_s: null };
  });
}

const STEP_STATUSES = {
  done: "done",
  current: "in progress",
  waiting: "not started",
  failed: "failed",
  undone: "undone",
};

/** The four steps of a transfer, each with its time. @param {{transfer: object | null}} props */
function Steps({ transfer }) {
  return html`
    <ol class="track">
      ${stepsFromTimeline(transfer).map(
        (step) => html`
          <li key=${step.label} class="track-step ${step.status}">
            <span class="track-mark"><${StepIcon} status=${step.status} /></span>
            <span class="track-label">${step.label}<span class="unseen">: ${STEP_STATUSES[step.status]}, ${step.meaning}</span></span>
            <span class="track-time" title=${step.at && absoluteTime(Date.parse(step.at))}>
              ${step.after_s === null ? "" : `+${duration(step.after_s)}`}
            </span>
          </li>
        `,
      )}
    </ol>
  `;
}

function StepIcon({ status }) {
  if (status === "done") return html`<${CheckIcon} />`;
  if (status === "failed" || status === "undone") return html`<${CrossIcon} />`;
  return null;
}

/** What the person has to know besides the steps. */
function EntryNotice({ entry, outbox }) {
  if (entry.problem) {
    const { title, effect, advice } = failureText(entry.problem);
    return html`<${Notice} kind="problem" title=${title}>${effect} ${advice}</>`;
  }
  if (entry.phase === "stopped") return html`<${StoppedNotice} entry=${entry} outbox=${outbox} />`;
  if (entry.retry) return html`<${RetryNotice} entry=${entry} />`;
  if (entryState(entry) === "buffered") {
    return html`
      <${Notice} kind="warning" title="Stored, the database is unavailable">
        Your transfer is stored safely. It is processed automatically when the database is back.
      </>
    `;
  }
  if (!entry.isKept && entry.phase === "sending") {
    return html`
      <${Notice} kind="warning" title="Do not reload this page">
        This browser does not let the page store the transfer, so a reload would lose track of it.
      </>
    `;
  }
  return null;
}

function StoppedNotice({ entry, outbox }) {
  if (!entry.isInDoubt) {
    return html`
      <${Notice} kind="info" title="You stopped, and nothing was recorded">
        No attempt reached Truepenny, so no money was moved.
      </>
    `;
  }
  return html`
    <${Notice} kind="warning" title="It may have been sent">
      An attempt was sent, but its answer never arrived. Check the statement before you send the
      amount again: a new transfer would move the money a second time.
      ${outbox.canResume(entry)
        ? " Continuing this transfer is safe: it moves the money at most once."
        : " It was sent with another API key. Only that key can continue it."}
    </>
  `;
}

function RetryNotice({ entry }) {
  const now = useNow();
  const wait_s = Math.ceil((entry.retry.retryAt - now) / 1000);
  const next = wait_s > 0 ? `in ${duration(wait_s)}` : "now";
  if (entry.phase === "following") {
    return html`
      <${Notice} kind="warning" title=${entry.retry.message}>
        The transfer is recorded and continues without this page. The page checks it again ${next}.
      </>
    `;
  }
  return html`
    <${Notice} kind="warning" title=${entry.retry.message}>
      ${entry.isInDoubt
        ? "It is not known whether your transfer was recorded."
        : "Your transfer was not recorded yet."}
      ${" "}It is sent again ${next}, as the same transfer, so the money is moved only once. To
      change the transfer, stop it first.
      ${!entry.isKept && html` <strong>Do not reload this page</strong>: it would lose track of the transfer.`}
    </>
  `;
}

function Facts({ entry }) {
  return html`
    <dl class="facts">
      ${entry.body.reference &&
      html`<div><dt>Reference</dt><dd>${entry.body.reference}</dd></div>`}
      <div><dt>Started</dt><dd>${shortTime(Date.parse(entry.startedAt))}</dd></div>
      ${entry.id && html`<div><dt>Transfer</dt><dd><${Id} id=${entry.id} what="transfer id" /></dd></div>`}
    </dl>
  `;
}
