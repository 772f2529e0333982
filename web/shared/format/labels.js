/** Labels for codes and ids of the API: states, events, failures, price sources, wallets. */
import { shortId } from "../ids.js";

/**
 * The name of a wallet, or its asset and the start of its id.
 * @param {{id: string, name: string | null, asset: string}} wallet
 */
export function walletTitle(wallet) {
  return wallet.name || `${wallet.asset} ${shortId(wallet.id)}`;
}

/** @param {string} id @param {{id: string}[]} wallets the known ones */
export function walletName(id, wallets) {
  const wallet = wallets.find((known) => known.id === id);
  return wallet ? walletTitle(wallet) : shortId(id);
}

const STATES = {
  buffered: { label: "Buffered", tone: "warn" },
  accepted: { label: "Accepted", tone: "info" },
  reserved: { label: "Reserved", tone: "info" },
  deducted: { label: "Deducted", tone: "info" },
  credited: { label: "Credited", tone: "info" },
  committed: { label: "Committed", tone: "good" },
  rejected: { label: "Rejected", tone: "bad" },
  rolled_back: { label: "Rolled back", tone: "bad" },
};
const FINAL_STATES = new Set(["committed", "rejected", "rolled_back"]);

/** Whether a transfer in this state changes no more. @param {string} state */
export function isFinal(state) {
  return FINAL_STATES.has(state);
}

/** @param {string} state of a transfer @returns {{label: string, tone: string}} */
export function stateLabel(state) {
  return STATES[state] ?? { label: readable(state), tone: "info" };
}

const EVENTS = {
  buffered: { label: "Buffered in the broker: the database was unavailable", tone: "warn" },
  accepted: { label: "Accepted", tone: "good" },
  reserved: { label: "Reserved in the source wallet", tone: "good" },
  deducted: { label: "Deducted from the source wallet", tone: "good" },
  credited: { label: "Credited to the destination wallet", tone: "good" },
  committed: { label: "Committed", tone: "good" },
  rejected: { label: "Rejected, no money was moved", tone: "bad" },
  rolled_back: { label: "Rolled back, all money was returned", tone: "bad" },
  retried: { label: "Retried", tone: "warn" },
  redriven: { label: "Stopped on its way, put back in the queue", tone: "warn" },
  set_aside: { label: "Waits: one of its wallets is locked in the database", tone: "warn" },
  waiting: { label: "Waits for money that an earlier transfer brings", tone: "warn" },
  failed: { label: "A step failed", tone: "bad" },
  rollback_failed: { label: "Rollback failed, an operator has to act", tone: "bad" },
  key_reused: { label: "Idempotency key reused with other content", tone: "warn" },
};

/** @param {string} event of a timeline @returns {{label: string, tone: "good" | "warn" | "bad"}} */
export function eventLabel(event) {
  return EVENTS[event] ?? { label: readable(event), tone: "warn" };
}

const NOT_MOVED = "No money was moved.";
const RETURNED = "All money is back where it was.";

const FAILURES = {
  insufficient_funds: {
    title: "Not enough money in the source wallet",
    effect: NOT_MOVED,
    advice: "Send less, or wait until more money has arrived in the wallet.",
  },
  wallet_frozen: {
    title: "A wallet is frozen",
    effect: RETURNED,
    advice: "Ask an operator of Truepenny to unfreeze it, or use another wallet.",
  },
  wallet_closed: {
    title: "A wallet is closed",
    effect: RETURNED,
    advice: "A closed wallet cannot be opened again. Use another wallet.",
  },
  wallet_not_found: {
    title: "There is no such wallet",
    effect: NOT_MOVED,
    advice: "Check the wallet id that you pasted.",
  },
  asset_mismatch: {
    title: "The wallets hold different assets",
    effect: NOT_MOVED,
    advice: "Choose a destination that holds the same asset.",
  },
  same_wallet: {
    title: "Source and destination are the same wallet",
    effect: NOT_MOVED,
    advice: "Choose another destination.",
  },
  forbidden: {
    title: "The API key may not send from this wallet",
    effect: NOT_MOVED,
    advice: "Use a wallet of your own, or the API key of its owner.",
  },
  idempotency_key_reused: {
    title: "This idempotency key was used for another transfer",
    effect: "No further money was moved.",
    advice: "Check the statement, then start a new transfer.",
  },
  rolled_back: {
    title: "The transfer failed and was rolled back",
    effect: RETURNED,
    advice: "Start a new transfer to try again.",
  },
  too_large: {
    title: "The request was too large",
    effect: NOT_MOVED,
    advice: "Shorten the reference and try again.",
  },
  invalid_request: {
    title: "The transfer is not valid",
    effect: NOT_MOVED,
    advice: "Correct it and try again.",
  },
};

/**
 * Why a transfer failed or was refused, what that means for the money, and what to do.
 * @param {{code: string, detail: string}} failure
 * @returns {{title: string, effect: string, advice: string}}
 */
export function failureText({ code, detail }) {
  return FAILURES[code] ?? { title: "The transfer was rejected", effect: NOT_MOVED, advice: detail };
}

const PRICE_SOURCES = {
  live: { label: "Live", tone: "good", meaning: "The current market price, at most 5 s old" },
  stale: {
    label: "Stale",
    tone: "warn",
    meaning: "The last known price, because the market does not answer",
  },
  static: {
    label: "Static",
    tone: "quiet",
    meaning: "A fixed price from the settings, because the market has never answered",
  },
};

/** @param {"live" | "stale" | "static"} source of a price */
export function priceSource(source) {
  return PRICE_SOURCES[source];
}

/** "destination_closed" becomes "Destination closed". */
function readable(code) {
  const words = code.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
