/**
 * Outbox: sends transfers and follows them. Guarantees that a transfer has one idempotency key
 * from before its first attempt, through any number of retries and reloads, so that it moves
 * money at most once; and that it is retried until its result is known or the person stops.
 */
import { TRANSFER, TRANSFER_DETAIL } from "../shared/api/answers.js";
import { ApiError, errorMessage } from "../shared/api/errors.js";
import { backoff_s } from "../shared/api/polling.js";
import { isFinal } from "../shared/format/labels.js";
import { makeId } from "../shared/ids.js";
import { MAX_ENTRIES, isOver, loadEntries, pruned, saveEntries } from "./outbox_store.js";

const MIN_POLL_S = 0.25;
const MAX_POLL_S = 5;

/** @typedef {import("./outbox_store.js").Entry} Entry */

export class Outbox {
  /** @param {import("../shared/api/client.js").Api} api @param {string} owner */
  constructor(api, owner) {
    this._api = api;
    this._owner = owner;
    this._isClosed = true;
    this._listeners = new Set();
    /** @type {Map<string, AbortController>} ends the loop of an entry, by its key */
    this._running = new Map();
    /** @type {Set<string>} keys with an attempt in progress */
    this._inFlight = new Set();
    this._onBeforeUnload = (event) => this._askBeforeLeaving(event);
    /** @type {Entry[]} newest first */
    this.entries = loadEntries(owner);
  }

  /** Continue with every entry that has not ended. */
  open() {
    this._isClosed = false;
    window.addEventListener("beforeunload", this._onBeforeUnload);
    for (const entry of this.entries) this._run(entry.key);
    for (const entry of this.entries) {
      if (entry.phase === "ended" && entry.id && !entry.transfer) this._fetchTransfer(entry.key);
    }
  }

  /** End every loop. The next `open` continues with the entries that have not ended. */
  close() {
    this._isClosed = true;
    window.removeEventListener("beforeunload", this._onBeforeUnload);
    for (const stop of this._running.values()) stop.abort("closed");
    this._running.clear();
  }

  /** @param {() => void} listener @returns {() => void} unsubscribes */
  subscribe(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  /** Whether the outbox can take one more transfer. */
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
      retry: null,
      isKept: true,
    };
    // Saved before the first attempt, so that a reload during it finds the key.
    this.entries = pruned([entry, ...this.entries]);
    this._save();
    this._run(entry.key);
    return entry.key;
  }

  /** Stop retrying. An attempt that was sent stays sent. @param {string} key */
  stop(key) {
    const entry = this.find(key);
    if (entry?.phase !== "sending") return;
    const isInDoubt = entry.isInDoubt || this._inFlight.has(key);
    this._running.get(key)?.abort("stopped");
    this._running.delete(key);
    this._change(key, { phase: "stopped", isInDoubt, retry: null });
  }

  /** Continue a stopped transfer with its old idempotency key. @param {string} key */
  resume(key) {
    const entry = this.find(key);
    if (entry?.phase !== "stopped" || entry.owner !== this._owner) return;
    this._change(key, { phase: "sending" });
    this._run(key);
  }

  /** Whether a stopped transfer can be continued with the API key of this session. */
  canResume(entry) {
    return entry.phase === "stopped" && entry.owner === this._owner;
  }

  /** @param {string | null} key @returns {Entry | undefined} */
  find(key) {
    return this.entries.find((entry) => entry.key === key);
  }

  /** Make the browser ask before it closes a tab that is still sending. */
  _askBeforeLeaving(event) {
    if (this.entries.some((entry) => entry.phase === "sending")) event.preventDefault();
  }

  async _run(key) {
    if (this._running.has(key)) return;
    const stop = new AbortController();
    this._running.set(key, stop);
    let failures = 0;
    let poll_s = MIN_POLL_S;
    while (!stop.signal.aborted) {
      const entry = this.find(key);
      if (entry?.phase !== "sending" && entry?.phase !== "following") break;
      let wait_s = 0;
      try {
        if (entry.phase === "sending") await this._attempt(entry, stop.signal);
        else {
          await untilVisible(stop.signal);
          if (stop.signal.aborted) break;
          await this._fetchTransfer(key, stop.signal);
          wait_s = poll_s;
          poll_s = Math.min(MAX_POLL_S, poll_s * 1.25);
        }
        failures = 0;
      } catch (error) {
        if (stop.signal.aborted) break;
        failures += 1;
        wait_s = backoff_s(failures, error.retryAfter_s ?? null);
        this._noteFailure(key, error, wait_s);
      }
      if (wait_s) await sleep(wait_s, stop.signal);
    }
    if (this._running.get(key) === stop) this._running.delete(key);
  }

  /** Send once. Throws errors after which it must be sent again. */
  async _attempt(entry, signal) {
    this._inFlight.add(entry.key);
    try {
      const transfer = await this._api.post("/v1/transfers", entry.body, {
        shape: TRANSFER,
        headers: { "Idempotency-Key": entry.key },
        signal,
      });
      this._change(entry.key, { phase: "following", id: transfer.id, retry: null });
    } catch (error) {
      const result = finalResult(error);
      if (!result || signal.aborted) throw error;
      this._change(entry.key, { ...result, retry: null });
    } finally {
      this._inFlight.delete(entry.key);
    }
  }

  /** Fetch the transfer with its state. Throws when it cannot be fetched now. */
  async _fetchTransfer(key, signal) {
    const { id } = this.find(key);
    let transfer;
    try {
      transfer = await this._api.get(`/v1/transfers/${id}`, { shape: TRANSFER_DETAIL, signal });
    } catch (error) {
      if (signal) throw error;
      return; // without a signal the transfer has ended, and its details are not essential
    }
    const phase = isFinal(transfer.state) ? "ended" : "following";
    this._change(key, { phase, transfer, problem: transfer.failure, retry: null });
  }

  _noteFailure(key, error, wait_s) {
    const entry = this.find(key);
    this._change(key, {
      retry: {
        code: error.code ?? "unexpected",
        message: errorMessage(error),
        retryAt: Date.now() + wait_s * 1000,
      },
      isInDoubt: entry.isInDoubt || (entry.phase === "sending" && mayBeRecorded(error)),
    });
    // An error in this page's code must be reported, but does not end the retries.
    if (!(error instanceof ApiError)) queueMicrotask(() => Promise.reject(error));
  }

  _change(key, changes) {
    // A late answer must not restore what "Forget key" has deleted.
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
 * The final result that an error of an attempt means; undefined when it must be sent again.
 * @param {unknown} error
 */
function finalResult(error) {
  if (!(error instanceof ApiError) || error.isTemporary || error.isUnauthenticated) return undefined;
  // Only the API itself knows the result. The page of a proxy says nothing about it.
  if (!error.isFromApi) return undefined;
  const problem = { code: error.code, detail: error.message, errors: error.errors };
  if (error.transferId) return { phase: "following", id: error.transferId, problem };
  return { phase: "refused", problem };
}

/** Whether the API may have recorded a failed attempt. @param {unknown} error */
function mayBeRecorded(error) {
  return !(error instanceof ApiError && NOT_RECORDED.has(error.code) && error.isFromApi);
}

const NOT_RECORDED = new Set(["rate_limited", "overloaded", "unauthenticated"]);

/** Wait until the page is visible. A recorded transfer does not depend on being watched. */
function untilVisible(signal) {
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

/** Wait, or until the network is back. */
function sleep(seconds, signal) {
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
