/**
 * One poll for all panels. Guarantees that what a part said last stays known while it cannot be
 * asked, with the time it is from; and that what is kept to draw its course is bounded.
 */
import { usePolled } from "../shared/polling.js";
import { useMemo } from "../shared/view.js";
import { History } from "./history.js";
import { OVERVIEW } from "./overview_shape.js";

const EVERY_S = 2.5;
const WHY_UNKNOWN = "it was not said why";

/** Where each part is; null while it is unknown. @type {Record<string, (overview: any) => any>} */
const PARTS = {
  transfers: ({ transfers }) => (transfers.states.accepted === null ? null : transfers),
  buffered: ({ transfers }) => transfers.states.buffered,
  queues: ({ queues }) => queues,
  workers: ({ workers }) => workers,
  breakers: ({ breakers }) => breakers,
  prices: ({ prices }) => prices,
  scans: ({ scans }) => scans,
};

/**
 * @typedef {{value: any, at: number | null, why: string | null}} Part value: what it said last,
 *   null when it never did; at: when (milliseconds since 1970); why: a sentence while it cannot
 *   be known, else null
 * @typedef {{overview: any, parts: Record<string, Part>, history: History}} Seen
 */

/** What was known last of every part. */
export class LastKnown {
  constructor() {
    this._parts = {};
    this._history = new History();
  }

  /** @param {any} overview @param {number} now milliseconds @returns {Seen} */
  take(overview, now) {
    for (const [name, read] of Object.entries(PARTS)) {
      const value = read(overview);
      const before = this._parts[name] ?? { value: null, at: null };
      this._parts[name] =
        value === null
          ? { ...before, why: overview.unknown[name] ?? WHY_UNKNOWN }
          : { value, at: now, why: null };
    }
    this._remember(overview, now);
    return { overview, parts: { ...this._parts }, history: this._history };
  }

  _remember({ transfers, queues }, now) {
    this._history.add("settled", now, transfers.settled_last_minute);
    for (const { name, waiting } of queues ?? []) this._history.add(`queue ${name}`, now, waiting);
  }
}

/**
 * @param {import("../shared/api.js").Api} api
 * @returns {import("../shared/polling.js").Polled} whose data is what was `Seen`
 */
export function useOverview(api) {
  const known = useMemo(() => new LastKnown(), [api]);
  const load = async (signal) =>
    known.take(await api.get("/v1/ops/overview", { shape: OVERVIEW, signal }), Date.now());
  return usePolled(load, { every_s: EVERY_S, on: [api] });
}
