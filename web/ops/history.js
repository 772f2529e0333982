/**
 * How some numbers went while this page was looking. Guarantees at most MAX_SERIES series of
 * MAX_SAMPLES each, however long the page stays open and whatever the server calls its queues.
 */
const SPAN_MS = 5 * 60_000;
const MAX_SAMPLES = 150;
const MAX_SERIES = 32;

/** @typedef {{at: number, value: number}} Sample */

export class History {
  constructor() {
    /** @type {Map<string, Sample[]>} */
    this._series = new Map();
  }

  /** @param {string} name @param {number} at @param {number | null} value null: not known */
  add(name, at, value) {
    if (value === null) return;
    const samples = this._series.get(name);
    if (!samples && this._series.size >= MAX_SERIES) return;
    const kept = (samples ?? []).filter((sample) => at - sample.at <= SPAN_MS);
    this._series.set(name, [...kept, { at, value }].slice(-MAX_SAMPLES));
  }

  /** @param {string} name @returns {Sample[]} oldest first */
  of(name) {
    return this._series.get(name) ?? [];
  }
}
