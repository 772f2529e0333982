/**
 * Storage of the outbox across reloads. Guarantees that a loaded entry is complete, and that an
 * entry of another API key is never sent again: for another client the same idempotency key
 * would be another transfer.
 */
import { boolean, listOf, nullable, object, oneOf, text, time } from "../shared/api/shapes.js";
import { getItem, setItem, setUnsettled } from "../shared/page/session.js";

const NAME = "transfers";
export const MAX_ENTRIES = 20;

/**
 * @typedef {object} Entry a transfer that was sent, or is being sent, from this tab
 * @property {string} key the idempotency key, the same for every attempt
 * @property {string} owner owner of the API key it was made with
 * @property {object} body the request, the same for every attempt
 * @property {string} startedAt
 * @property {"sending" | "following" | "ended" | "refused" | "stopped"} phase
 *   sending: until its result is known. following: recorded and in progress. ended: in a final
 *   state. refused: the API refused it and recorded nothing. stopped: the person stopped it, and
 *   it may have been recorded.
 * @property {boolean} isInDoubt whether an attempt may have been recorded although its answer was lost
 * @property {string | null} id the transfer's id, once known
 * @property {object | null} transfer as it was last fetched, with its timeline
 * @property {string | null} [state] the state of a loaded entry, until its transfer is fetched
 * @property {{code: string, detail: string} | null} problem why it was refused
 * @property {{code: string, message: string, retryAt: number} | null} retry the last error and
 *   the time of the next call; never stored
 * @property {boolean} isKept whether it survives a reload
 */

const ENTRIES = listOf(
  object({
    key: text,
    owner: text,
    body: object({ source: text, destination: text, amount: text, asset: text }),
    startedAt: time,
    phase: oneOf("sending", "following", "ended", "refused", "stopped"),
    isInDoubt: boolean,
    id: nullable(text),
    problem: nullable(object({ code: text, detail: text })),
  }),
);

/** @param {string} owner @returns {Entry[]} newest first */
export function loadEntries(owner) {
  const kept = getItem(NAME);
  if (kept === null) return [];
  try {
    const entries = ENTRIES(JSON.parse(kept), "");
    return entries.filter((entry) => mayBeShown(entry, owner)).map((entry) => restore(entry, owner));
  } catch {
    return []; // written by another version or by hand, so it cannot be trusted
  }
}

/** Transfers of another API key are shown only while their result is not known. */
function mayBeShown(entry, owner) {
  return entry.owner === owner || entry.phase === "sending" || entry.phase === "stopped";
}

function restore(entry, owner) {
  return {
    ...entry,
    // A reload cuts off a running attempt, so its result is not known.
    isInDoubt: entry.isInDoubt || entry.phase === "sending",
    phase: entry.owner === owner ? entry.phase : "stopped",
    transfer: null,
    retry: null,
    isKept: true,
  };
}

/** @param {Entry[]} entries @returns {boolean} whether they survive a reload */
export function saveEntries(entries) {
  setUnsettled(entries.some((entry) => entry.phase === "sending"));
  return setItem(
    NAME,
    JSON.stringify(
      entries.map(({ transfer, retry, isKept, ...kept }) => ({
        ...kept,
        // Enough to show the result until the transfer has been fetched again.
        state: transfer?.state ?? kept.state ?? null,
      })),
    ),
  );
}

/** Drop old entries beyond the limit. Entries in progress are never dropped. @param {Entry[]} entries */
export function pruned(entries) {
  const result = [...entries];
  while (result.length > MAX_ENTRIES) {
    const index = result.findLastIndex((entry) => isOver(entry));
    if (index < 0) break;
    result.splice(index, 1);
  }
  return result;
}

/** Whether nothing more will be done for an entry. @param {Entry} entry */
export function isOver(entry) {
  return entry.phase === "ended" || entry.phase === "refused";
}
