/**
 * The overview: one poll for most panels of the ops page. Guarantees that the last known value
 * of each part is kept with its time while the part is unavailable, and that the history for
 * the charts is bounded.
 */
import { OVERVIEW } from "../shared/api/answers.js";
import { usePolled } from "../shared/api/polling.js";
import { useMemo } from "../shared/view.js";

const EVERY_S = 2.5;
const NO_REASON = "the API gave no reason";

/** Reads each part from the overview; null while it is unknown. @type {Record<string, (overview: any) => any>} */
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
 * @typedef {{value: any, at: number | null, why: string | null}} Part value: the last known one,
 *   or null; at: its time (milliseconds since 1970); why: the reason while the part is
 *   unavailable, else null
 * @typedef {{overview: any, parts: Record<string, Part>, history: History}} KnownOverview
 */

/** The last known value of each part. */
class LastKnown {
  constructor() {
    this._parts = {};
    this._history = new History();
  }

  /** @param {any} overview @param {number} now milliseconds @returns {KnownOverview} */
  update(overview, now) {
    for (const [name, read] of Object.entries(PARTS)) {
      const value = read(overview);
      const before = this._parts[name] ?? { value: null, at: null };
      this._parts[name] =
        value === null
          ? { ...before, why: overview.unknown[name] ?? NO_REASON }
          : { value, at: now, why: null };
    }
    this._addToHistory(overview, now);
    return { overview, parts: { ...this._parts }, history: this._history };
  }

  _addToHistory({ transfers, queues }, now) {
    this._history.add("settled", now, transfers.settled_last_minute);
    for (const { name, waiting } of queues ?? []) this._history.add(`queue ${name}`, now, waiting);
  }
}

const HISTORY_MS = 5 * 60_000;
const MAX_SAMPLES = 150;
const MAX_SERIES = 32;

/** @typedef {{at: number, value: number}} Sample */

/** Recent values of numbers: at most MAX_SERIES series of MAX_SAMPLES samples each. */
class History {
  constructor() {
    /** @type {Map<string, Sample[]>} */
    this._series = new Map();
  }

  /** @param {string} name @param {number} at @param {number | null} value null: unknown */
  add(name, at, value) {
    if (value === null) return;
    const samples = this._series.get(name);
    if (!samples && this._series.size >= MAX_SERIES) return;
    const kept = (samples ?? []).filter((sample) => at - sample.at <= HISTORY_MS);
    this._series.set(name, [...kept, { at, value }].slice(-MAX_SAMPLES));
  }

  /** @param {string} name @returns {Sample[]} oldest first */
  of(name) {
    return this._series.get(name) ?? [];
  }
}

/**
 * @param {import("../shared/api/client.js").Api} api
 * @returns {import("../shared/api/polling.js").Polled} with a `KnownOverview` as its data
 */
export function useOverview(api) {
  const known = useMemo(() => new LastKnown(), [api]);
  const load = async (signal) =>
    known.update(await api.get("/v1/ops/overview", { shape: OVERVIEW, signal }), Date.now());
  return usePolled(load, { every_s: EVERY_S, on: [api] });
}
