/**
 * Sending transfers. Guarantees that a transfer has one idempotency key from before its first
 * attempt on, over any number of retries and reloads, so that it moves money once at most; and
 * that it is retried until an answer says what became of it, or the person stops.
 */
import { ApiError, sentenceOf } from "../shared/api_errors.js";
import { backoff_s } from "../shared/polling.js";
import { makeId } from "../shared/random_ids.js";
import { MAX_ENTRIES, isOver, loadEntries, pruned, saveEntries } from "./outbox_store.js";
import { TRANSFER, TRANSFER_DETAIL } from "./wallet_shapes.js";

const FINAL = new Set(["committed", "rejected", "rolled_back"]);
const FIRST_LOOK_S = 0.25;
const LAST_LOOK_S = 5;

/** @typedef {import("./outbox_store.js").Entry} Entry */

export class Outbox {
  /** @param {import("../shared/api.js").Api} api @param {string} owner */
  constructor(api, owner) {
    this._api = api;
    this._owner = owner;
    this._isClosed = true;
    this._listeners = new Set();
    /** @type {Map<string, AbortController>} what ends an entry's loop, by its key */
    this._running = new Map();
    /** @type {Set<string>} the keys of which an attempt is under way */
    this._inFlight = new Set();
    this._onLeave = (event) => this._leave(event);
    /** @type {Entry[]} newest first */
    this.entries = loadEntries(owner);
  }

  /** Go on with whatever has not ended. */
  open() {
    this._isClosed = false;
    window.addEventListener("beforeunload", this._onLeave);
    for (const entry of this.entries) this._run(entry.key);
    for (const entry of this.entries) {
      if (entry.phase === "ended" && entry.id && !entry.transfer) this._look(entry.key);
    }
  }

  /** End every loop; what has not ended is taken up again by the next `open`. */
  close() {
    this._isClosed = true;
    window.removeEventListener("beforeunload", this._onLeave);
    for (const stop of this._running.values()) stop.abort("closed");
    this._running.clear();
  }

  /** @param {() => void} listener @returns {() => void} ends it */
  subscribe(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  /** Whether one more transfer can be kept track of. */
  get hasRoom() {
    return this.entries.filter((entry) => !isOver(entry)).length < MAX_ENTRIES;
  }

  /** Send a transfer. @param {Entry["body"]} body @returns {string} its key */
  submit(body) {
    const entry = {
      key: makeId(),
      owner: this._owner,
      body,
      startedAt: new Date().toISOString(),
      phase: "sending",
      isInDoubt: false,
      id: null,
      transfer: null,
      problem: null,
      trouble: null,
      isKept: true,
    };
    // Kept before the first attempt: a reload in the middle must find the key.
    this.entries = pruned([entry, ...this.entries]);
    this._save();
    this._run(entry.key);
    return entry.key;
  }

  /** Stop trying. What was sent stays sent. @param {string} key */
  stop(key) {
    const entry = this.find(key);
    if (entry?.phase !== "sending") return;
    const isInDoubt = entry.isInDoubt || this._inFlight.has(key);
    this._running.get(key)?.abort("stopped");
    this._running.delete(key);
    this._change(key, { phase: "stopped", isInDoubt, trouble: null });
  }

  /** Take up a stopped transfer again: the same one. @param {string} key */
  resume(key) {
    const entry = this.find(key);
    if (entry?.phase !== "stopped" || entry.owner !== this._owner) return;
    this._change(key, { phase: "sending" });
    this._run(key);
  }

  /** Whether a stopped transfer may be taken up with the key of this session. */
  mayResume(entry) {
    return entry.phase === "stopped" && entry.owner === this._owner;
  }

  /** @param {string | null} key @returns {Entry | undefined} */
  find(key) {
    return this.entries.find((entry) => entry.key === key);
  }

  /** What is not recorded yet ends with its tab: the browser asks before it does. */
  _leave(event) {
    if (this.entries.some((entry) => entry.phase === "sending")) event.preventDefault();
  }

  async _run(key) {
    if (this._running.has(key)) return;
    const stop = new AbortController();
    this._running.set(key, stop);
    let failures = 0;
    let look_s = FIRST_LOOK_S;
    while (!stop.signal.aborted) {
      const entry = this.find(key);
      if (entry?.phase !== "sending" && entry?.phase !== "following") break;
      let wait_s = 0;
      try {
        if (entry.phase === "sending") await this._attempt(entry, stop.signal);
        else {
          await seen(stop.signal);
          if (stop.signal.aborted) break;
          await this._look(key, stop.signal);
          wait_s = look_s;
          look_s = Math.min(LAST_LOOK_S, look_s * 1.25);
        }
        failures = 0;
      } catch (error) {
        if (stop.signal.aborted) break;
        failures += 1;
        wait_s = backoff_s(failures, error.retryAfter_s ?? null);
        this._trouble(key, error, wait_s);
      }
      if (wait_s) await pause(wait_s, stop.signal);
    }
    if (this._running.get(key) === stop) this._running.delete(key);
  }

  /** Send once. Throws what may pass. */
  async _attempt(entry, signal) {
    this._inFlight.add(entry.key);
    try {
      const transfer = await this._api.post("/v1/transfers", entry.body, {
        shape: TRANSFER,
        headers: { "Idempotency-Key": entry.key },
        signal,
      });
      this._change(entry.key, { phase: "following", id: transfer.id, trouble: null });
    } catch (error) {
      const decision = decide(error);
      if (!decision || signal.aborted) throw error;
      this._change(entry.key, { ...decision, trouble: null });
    } finally {
      this._inFlight.delete(entry.key);
    }
  }

  /** Read how far it has come. Throws when that cannot be known now. */
  async _look(key, signal) {
    const { id } = this.find(key);
    let transfer;
    try {
      transfer = await this._api.get(`/v1/transfers/${id}`, { shape: TRANSFER_DETAIL, signal });
    } catch (error) {
      if (signal) throw error;
      return; // a second look at what has ended is a nicety
    }
    const phase = FINAL.has(transfer.state) ? "ended" : "following";
    this._change(key, { phase, transfer, problem: transfer.failure, trouble: null });
  }

  _trouble(key, error, wait_s) {
    const entry = this.find(key);
    this._change(key, {
      trouble: {
        code: error.code ?? "unexpected",
        sentence: sentenceOf(error),
        retryAt: Date.now() + wait_s * 1000,
      },
      isInDoubt: entry.isInDoubt || (entry.phase === "sending" && mayBeRecorded(error)),
    });
    // A mistake of ours is no reason to stop sending, but it must not stay unknown.
    if (!(error instanceof ApiError)) queueMicrotask(() => Promise.reject(error));
  }

  _change(key, changes) {
    // What comes in late must not write back what "Forget key" has wiped.
    if (this._isClosed) return;
    this.entries = this.entries.map((entry) =>
      entry.key === key ? { ...entry, ...changes } : entry,
    );
    this._save();
  }

  _save() {
    const isKept = saveEntries(this.entries);
    this.entries = this.entries.map((entry) => ({ ...entry, isKept }));
    for (const listener of this._listeners) listener();
  }
}

/**
 * What an error of an attempt says for good; undefined when the attempt must be repeated.
 * @param {unknown} error
 */
export function decide(error) {
  if (!(error instanceof ApiError) || error.mayPass || error.isUnauthenticated) return undefined;
  // Only the API itself knows; a proxy's page in between decides nothing.
  if (!error.isContract) return undefined;
  const problem = { code: error.code, detail: error.message, errors: error.errors };
  if (error.transferId) return { phase: "following", id: error.transferId, problem };
  return { phase: "refused", problem };
}

/** Whether a failed attempt may have been recorded all the same. @param {unknown} error */
function mayBeRecorded(error) {
  return !(error instanceof ApiError && NOT_RECORDED.has(error.code) && error.isContract);
}

const NOT_RECORDED = new Set(["rate_limited", "overloaded", "unauthenticated"]);

/** Wait until somebody sees the page: what is recorded goes on without being looked at. */
function seen(signal) {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      signal.removeEventListener("abort", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
    check();
  });
}

/** Wait, but no longer than until the network is back. */
function pause(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
