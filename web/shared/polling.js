/**
 * Asking again and again. Guarantees that one call at most is under way, that failures are
 * answered by waiting longer (with jitter, and never less than Retry-After), that a hidden tab
 * asks nothing, and that what was known last is kept.
 */
import { useEffect, useRef, useState } from "./view.js";

const MAX_DELAY_S = 60;
const FIRST_DELAY_S = 1;

/**
 * @typedef {object} Polled what a panel knows
 * @property {any} data the last good answer, or null
 * @property {number | null} at when it came (milliseconds since 1970)
 * @property {Error | null} error why the last try failed; null when it did not
 * @property {number | null} retryAt when the next try is, after a failure
 * @property {() => void} refresh asks at once
 */

/**
 * How long to wait after so many failures in a row.
 * @param {number} failures @param {number | null} retryAfter_s @param {() => number} random
 */
export function backoff_s(failures, retryAfter_s, random = Math.random) {
  const grown = Math.min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** Math.min(failures - 1, 10));
  return Math.max(grown * (0.5 + random() / 2), (retryAfter_s ?? 0) * (1 + random() / 10));
}

export class Poller {
  /**
   * @param {(signal: AbortSignal) => Promise<any>} load
   * @param {{every_s: number, onChange: (polled: Omit<Polled, "refresh">) => void}} options
   */
  constructor(load, { every_s, onChange }) {
    this._load = load;
    this._every_s = every_s;
    this._onChange = onChange;
    this._known = { data: null, at: null, error: null, retryAt: null };
    this._failures = 0;
    // What Retry-After asked for, which only a person's click may shorten; on the clock that
    // nobody sets.
    this._notBefore_ms = 0;
    this._timer = 0;
    this._call = null;
    this._isStopped = true;
    this._onWake = () => this._wake();
  }

  start() {
    this._isStopped = false;
    document.addEventListener("visibilitychange", this._onWake);
    window.addEventListener("online", this._onWake);
    this._ask();
  }

  stop() {
    this._isStopped = true;
    document.removeEventListener("visibilitychange", this._onWake);
    window.removeEventListener("online", this._onWake);
    clearTimeout(this._timer);
    this._call?.abort();
    this._call = null;
  }

  /** Ask at once; while a call is under way its answer may be too old, so it is replaced. */
  refresh() {
    if (this._isStopped) return;
    clearTimeout(this._timer);
    this._call?.abort();
    this._call = null;
    this._ask();
  }

  _wake() {
    if (document.hidden || this._call) return;
    const wait_ms = this._notBefore_ms - performance.now();
    if (wait_ms <= 0) this.refresh();
    else this._later(wait_ms / 1000);
  }

  async _ask() {
    // A hidden tab costs the server nothing: `visibilitychange` wakes it.
    if (document.hidden && this._known.at !== null) return;
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
    this._tell({ data, at: Date.now(), error: null, retryAt: null });
    this._later(this._every_s * (0.9 + Math.random() / 5));
  }

  _failed(error) {
    this._failures += 1;
    const delay_s = Math.max(
      backoff_s(this._failures, error.retryAfter_s ?? null),
      // What only a person can change is asked about less often.
      error.mayPass === false ? 15 : 0,
    );
    this._notBefore_ms = performance.now() + (error.retryAfter_s ?? 0) * 1000;
    this._tell({ ...this._known, error, retryAt: Date.now() + delay_s * 1000 });
    this._later(delay_s);
  }

  _tell(known) {
    this._known = known;
    this._call = null;
    this._onChange(known);
  }

  _later(delay_s) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._ask(), delay_s * 1000);
  }
}

const NOTHING_YET = { data: null, at: null, error: null, retryAt: null };

/**
 * Poll while the component is there.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {{every_s: number, on?: unknown[]}} options on: when one of these changes, what was
 *   known is forgotten and asked for anew
 * @returns {Polled}
 */
export function usePolled(load, { every_s, on = [] }) {
  const [known, setKnown] = useState(NOTHING_YET);
  const poller = useRef(null);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const made = new Poller((signal) => latest.current(signal), { every_s, onChange: setKnown });
    poller.current = made;
    setKnown(NOTHING_YET);
    made.start();
    return () => made.stop();
  }, [every_s, ...on]);
  const refresh = useRef(() => poller.current?.refresh());
  return { ...known, refresh: refresh.current };
}
