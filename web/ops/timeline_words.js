/** What a transfer's states, events and failures are called, for an operator. */

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

/** @param {string} state @returns {{label: string, tone: string}} */
export function stateOf(state) {
  return STATES[state] ?? { label: plain(state), tone: "info" };
}

const EVENTS = {
  buffered: { label: "Kept in the broker, the database was away", tone: "warn" },
  accepted: { label: "Accepted", tone: "good" },
  reserved: { label: "Reserved in the source", tone: "good" },
  deducted: { label: "Deducted from the source", tone: "good" },
  credited: { label: "Credited to the destination", tone: "good" },
  committed: { label: "Committed", tone: "good" },
  rejected: { label: "Rejected, nothing moved", tone: "bad" },
  rolled_back: { label: "Rolled back, all refunded", tone: "bad" },
  retried: { label: "Tried again", tone: "warn" },
  redriven: { label: "Stood still, sent on again", tone: "warn" },
  failed: { label: "Failed in a step", tone: "bad" },
  rollback_failed: { label: "Rollback failed, needs a human", tone: "bad" },
  key_reused: { label: "Key reused with other content", tone: "warn" },
};

/** @param {string} event @returns {{label: string, tone: "good" | "warn" | "bad"}} */
export function eventOf(event) {
  return EVENTS[event] ?? { label: plain(event), tone: "warn" };
}

const FAILURES = {
  insufficient_funds: "The source did not have enough money. Nothing moved.",
  wallet_frozen: "A wallet was frozen. The money is where it was.",
  wallet_closed: "A wallet was closed. The money is where it was.",
  wallet_not_found: "A wallet does not exist. Nothing moved.",
  asset_mismatch: "The wallets hold different assets. Nothing moved.",
  same_wallet: "Source and destination are one wallet. Nothing moved.",
  forbidden: "The client may not move money from this wallet. Nothing moved.",
  rolled_back: "It failed on the way and was undone. All money is back.",
};

/** @param {string} code @returns {string} */
export function wordsOfFailure(code) {
  return FAILURES[code] ?? "It did not go through.";
}

/** "destination_closed" becomes "Destination closed". */
function plain(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
