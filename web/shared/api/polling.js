/**
 * Polling of the API. Guarantees that at most one call runs at a time, that each failure makes
 * the next wait longer (with jitter, and never shorter than Retry-After), that a hidden tab makes
 * no calls, and that the last good answer is kept.
 */
import { useEffect, useRef, useState } from "../view.js";

const MAX_DELAY_S = 60;
const FIRST_DELAY_S = 1;

/**
 * @typedef {object} Polled the state of a poll
 * @property {any} data the last good answer, or null
 * @property {number | null} at when it arrived (milliseconds since 1970)
 * @property {Error | null} error why the last call failed; null when it succeeded
 * @property {number | null} retryAt time of the next call, after a failure
 * @property {() => void} refresh calls at once
 */

/**
 * The wait after a number of failures in a row.
 * @param {number} failures @param {number | null} retryAfter_s @param {() => number} random
 */
export function backoff_s(failures, retryAfter_s, random = Math.random) {
  const grown = Math.min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** Math.min(failures - 1, 10));
  return Math.max(grown * (0.5 + random() / 2), (retryAfter_s ?? 0) * (1 + random() / 10));
}

class Poller {
  /**
   * @param {(signal: AbortSignal) => Promise<any>} load
   * @param {{every_s: number, onChange: (polled: Omit<Polled, "refresh">) => void}} options
   */
  constructor(load, { every_s, onChange }) {
    this._load = load;
    this._every_s = every_s;
    this._onChange = onChange;
    this._state = { data: null, at: null, error: null, retryAt: null };
    this._failures = 0;
    // The end of the last Retry-After, which only a person's click may shorten. It is measured
    // on performance.now(), which does not jump when the system clock is set.
    this._notBefore_ms = 0;
    this._timer = 0;
    this._call = null;
    this._isStopped = true;
    this._onResume = () => this._resume();
  }

  start() {
    this._isStopped = false;
    document.addEventListener("visibilitychange", this._onResume);
    window.addEventListener("online", this._onResume);
    this._poll();
  }

  stop() {
    this._isStopped = true;
    document.removeEventListener("visibilitychange", this._onResume);
    window.removeEventListener("online", this._onResume);
    clearTimeout(this._timer);
    this._call?.abort();
    this._call = null;
  }

  /** Call at once. A running call is cancelled, because its answer may already be out of date. */
  refresh() {
    if (this._isStopped) return;
    clearTimeout(this._timer);
    this._call?.abort();
    this._call = null;
    this._poll();
  }

  _resume() {
    if (document.hidden || this._call) return;
    const wait_ms = this._notBefore_ms - performance.now();
    if (wait_ms <= 0) this.refresh();
    else this._schedule(wait_ms / 1000);
  }

  async _poll() {
    // A hidden tab makes no calls. `visibilitychange` starts them again.
    if (document.hidden && this._state.at !== null) return;
    const call = new AbortController();
    this._call = call;
    try {
      const data = await this._load(call.signal);
      if (this._call === call) this._succeeded(data);
    } catch (error) {
      if (this._call === call) this._failed(error);
    }
  }

  _succeeded(data) {
    this._failures = 0;
    this._update({ data, at: Date.now(), error: null, retryAt: null });
    this._schedule(this._every_s * (0.9 + Math.random() / 5));
  }

  _failed(error) {
    this._failures += 1;
    const delay_s = Math.max(
      backoff_s(this._failures, error.retryAfter_s ?? null),
      // An error that only a person can fix is retried less often.
      error.isTemporary === false ? 15 : 0,
    );
    this._notBefore_ms = performance.now() + (error.retryAfter_s ?? 0) * 1000;
    this._update({ ...this._state, error, retryAt: Date.now() + delay_s * 1000 });
    this._schedule(delay_s);
  }

  _update(state) {
    this._state = state;
    this._call = null;
    this._onChange(state);
  }

  _schedule(delay_s) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._poll(), delay_s * 1000);
  }
}

const INITIAL = { data: null, at: null, error: null, retryAt: null };

/**
 * Poll while the component is mounted.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {{every_s: number, on?: unknown[]}} options on: when one of these changes, the last
 *   answer is dropped and the poll starts again
 * @returns {Polled}
 */
export function usePolled(load, { every_s, on = [] }) {
  const [state, setState] = useState(INITIAL);
  const poller = useRef(null);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const made = new Poller((signal) => latest.current(signal), { every_s, onChange: setState });
    poller.current = made;
    setState(INITIAL);
    made.start();
    return () => made.stop();
  }, [every_s, ...on]);
  const refresh = useRef(() => poller.current?.refresh());
  return { ...state, refresh: refresh.current };
}

/**
 * Refresh a failed poll as soon as the database is back, instead of at the end of its wait. The
 * overview is answered while the database is down, so it knows first.
 * @param {Polled} polled @param {boolean} isDatabaseUp
 */
export function useRefreshWhenAvailable(polled, isDatabaseUp) {
  useEffect(() => {
    if (isDatabaseUp && polled.error?.isTemporary) polled.refresh();
  }, [isDatabaseUp]);
}
