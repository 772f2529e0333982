/** The track: the four steps of a transfer, as they happen, each with its time. */
import { duration } from "../shared/format.js";
import { CheckIcon, CrossIcon } from "../shared/icons.js";
import { absoluteTime } from "../shared/format.js";
import { html } from "../shared/view.js";

const STEPS = [
  { event: "reserved", label: "Reserve", says: "set aside in the source" },
  { event: "deducted", label: "Deduct", says: "taken from the source" },
  { event: "credited", label: "Credit", says: "given to the destination" },
  { event: "committed", label: "Commit", says: "free to be spent" },
];

/**
 * @typedef {object} Step
 * @property {string} label
 * @property {string} says
 * @property {"done" | "current" | "waiting" | "failed" | "undone"} status
 * @property {string | null} at
 * @property {number | null} after_s since the transfer was accepted
 */

/**
 * What the timeline says about each step.
 * @param {object | null} transfer with its timeline @returns {Step[]}
 */
export function stepsOf(transfer) {
  const times = new Map(transfer?.timeline.map(({ event, at }) => [event, at]));
  const start = Date.parse(times.get("accepted") ?? transfer?.created_at ?? "");
  const failed = transfer?.state === "rejected" || transfer?.state === "rolled_back";
  let isBehind = false; // the first step that is not done is the current one
  return STEPS.map(({ event, label, says }) => {
    const at = times.get(event) ?? null;
    if (at) {
      const status = transfer.state === "rolled_back" ? "undone" : "done";
      return { label, says, status, at, after_s: (Date.parse(at) - start) / 1000 };
    }
    const isCurrent = !isBehind && transfer !== null && transfer.state !== "buffered";
    isBehind = true;
    const status = isCurrent ? (failed ? "failed" : "current") : "waiting";
    return { label, says, status, at: null, after_s: null };
  });
}

const SAID = {
  done: "done",
  current: "under way",
  waiting: "not yet",
  failed: "failed",
  undone: "undone",
};

/** @param {{transfer: object | null}} props */
export function Track({ transfer }) {
  return html`
    <ol class="track">
      ${stepsOf(transfer).map(
        (step) => html`
          <li key=${step.label} class="track-step ${step.status}">
            <span class="track-mark"><${StepMark} status=${step.status} /></span>
            <span class="track-label">${step.label}<span class="unseen">: ${SAID[step.status]}, ${step.says}</span></span>
            <span class="track-time" title=${step.at && absoluteTime(Date.parse(step.at))}>
              ${step.after_s === null ? "" : `+${duration(step.after_s)}`}
            </span>
          </li>
        `,
      )}
    </ol>
  `;
}

function StepMark({ status }) {
  if (status === "done") return html`<${CheckIcon} />`;
  if (status === "failed" || status === "undone") return html`<${CrossIcon} />`;
  return null;
}
