/** Labels and messages for the entries of the outbox. */
import { failureText, stateLabel } from "../shared/format/labels.js";

/** @typedef {import("./outbox_store.js").Entry} Entry */

/** @param {Entry} entry @returns {{label: string, tone: string}} */
export function entryBadge(entry) {
  if (entry.phase === "refused") return { label: "Not sent", tone: "bad" };
  if (entry.phase === "stopped") {
    return entry.isInDoubt ? { label: "Unclear", tone: "warn" } : { label: "Not sent", tone: "quiet" };
  }
  if (entry.phase === "sending") {
    return entry.retry ? { label: "Retrying", tone: "warn" } : { label: "Sending", tone: "info" };
  }
  const state = entryState(entry);
  return state === null ? { label: "In progress", tone: "info" } : stateLabel(state);
}

/** The last state that the API reported, if any. @param {Entry} entry @returns {string | null} */
export function entryState(entry) {
  if (entry.transfer) return entry.transfer.state;
  return entry.problem && entry.phase === "following" ? "rejected" : (entry.state ?? null);
}

const STATE_MESSAGES = {
  buffered: "Buffered. It will be processed when the database is back.",
  accepted: "Accepted.",
  reserved: "The money is reserved.",
  deducted: "The money has left the source wallet.",
  credited: "The money has reached the destination wallet.",
  committed: "Committed. The money has arrived.",
  rolled_back: "The transfer was rolled back.",
};

/** The progress as one sentence, for screen readers. @param {Entry} entry */
export function entryMessage(entry) {
  if (entry.phase === "refused" || entry.problem) return `${failureText(entry.problem).title}.`;
  if (entry.phase === "stopped") {
    return entry.isInDoubt
      ? "You stopped the transfer. It may have been sent."
      : "You stopped the transfer, and nothing was recorded.";
  }
  if (entry.phase === "sending") return entry.retry ? "Retrying." : "Sending.";
  return STATE_MESSAGES[entryState(entry)] ?? "In progress.";
}
