/**
 * What the outbox keeps over a reload. Guarantees that an entry which comes back is whole, and
 * that one which another API key made is never sent again: under another client the same
 * idempotency key would be another transfer.
 */
import { keep, noteUnsettled, recall } from "../shared/session.js";
import { listOf, nullable, object, oneOf, text, time, yesOrNo } from "../shared/shapes.js";

const NAME = "transfers";
export const MAX_ENTRIES = 20;

/**
 * @typedef {object} Entry a transfer that was sent, or is being sent, from this tab
 * @property {string} key the idempotency key, the same for every attempt
 * @property {string} owner whose API key it was made with
 * @property {object} body what is sent, the same for every attempt
 * @property {string} startedAt
 * @property {"sending" | "following" | "ended" | "refused" | "stopped"} phase
 *   sending: until an answer says what became of it. following: recorded, and under way.
 *   ended: committed, or refused for good. refused: nothing was recorded. stopped: the person
 *   gave up, and it may have been recorded.
 * @property {boolean} isInDoubt whether an attempt may have been recorded without our hearing
 * @property {string | null} id the transfer's id, once known
 * @property {object | null} transfer as it was seen last, with its timeline
 * @property {{code: string, detail: string} | null} problem why it was refused
 * @property {{code: string, sentence: string, retryAt: number} | null} trouble what keeps us
 *   from knowing more right now; never kept
 * @property {boolean} isKept whether it outlives a reload
 */

const ENTRIES = listOf(
  object({
    key: text,
    owner: text,
    body: object({ source: text, destination: text, amount: text, asset: text }),
    startedAt: time,
    phase: oneOf("sending", "following", "ended", "refused", "stopped"),
    isInDoubt: yesOrNo,
    id: nullable(text),
    problem: nullable(object({ code: text, detail: text })),
  }),
);

/** @param {string} owner @returns {Entry[]} newest first */
export function loadEntries(owner) {
  const kept = recall(NAME);
  if (kept === null) return [];
  try {
    const entries = ENTRIES(JSON.parse(kept), "");
    return entries.filter((entry) => mayBeShown(entry, owner)).map((entry) => revive(entry, owner));
  } catch {
    return []; // written by another version, or by hand: nothing in it can be trusted
  }
}

/** Of another key's transfers only those that nobody knows the end of, so that it is looked up. */
function mayBeShown(entry, owner) {
  return entry.owner === owner || entry.phase === "sending" || entry.phase === "stopped";
}

function revive(entry, owner) {
  return {
    ...entry,
    // Without an answer a reload leaves open what became of the attempt that it cut off.
    isInDoubt: entry.isInDoubt || entry.phase === "sending",
    phase: entry.owner === owner ? entry.phase : "stopped",
    transfer: null,
    trouble: null,
    isKept: true,
  };
}

/** @param {Entry[]} entries @returns {boolean} whether they are kept */
export function saveEntries(entries) {
  noteUnsettled(entries.some((entry) => entry.phase === "sending"));
  return keep(
    NAME,
    JSON.stringify(
      entries.map(({ transfer, trouble, isKept, ...kept }) => ({
        ...kept,
        // Enough to show how it ended, until it has been read again.
        state: transfer?.state ?? kept.state ?? null,
      })),
    ),
  );
}

/** Make room: what has ended goes first, and what is under way never. @param {Entry[]} entries */
export function pruned(entries) {
  const result = [...entries];
  while (result.length > MAX_ENTRIES) {
    const index = result.findLastIndex((entry) => isOver(entry));
    if (index < 0) break;
    result.splice(index, 1);
  }
  return result;
}

/** Whether nothing more will be done about it. @param {Entry} entry */
export function isOver(entry) {
  return entry.phase === "ended" || entry.phase === "refused";
}
