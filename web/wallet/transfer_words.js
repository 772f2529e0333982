/** What a transfer's states and refusals are called in plain words. */

/** @typedef {import("./outbox_store.js").Entry} Entry */

const REFUSALS = {
  insufficient_funds: {
    title: "There was not enough money",
    advice: "Nothing was moved. Send less, or wait until more has arrived in the wallet.",
  },
  wallet_frozen: {
    title: "A wallet is frozen",
    advice: "Nothing was moved. Ask whoever runs Truepenny to unfreeze it, or use another wallet.",
  },
  wallet_closed: {
    title: "A wallet is closed",
    advice: "Nothing was moved. A closed wallet stays closed: use another one.",
  },
  wallet_not_found: {
    title: "There is no such wallet",
    advice: "Nothing was sent. Check the wallet id that you pasted.",
  },
  asset_mismatch: {
    title: "The wallets hold different assets",
    advice: "Nothing was sent. Choose a destination that holds the same asset.",
  },
  same_wallet: {
    title: "Source and destination are the same wallet",
    advice: "Nothing was sent. Choose another destination.",
  },
  forbidden: {
    title: "Your API key may not send from this wallet",
    advice: "Nothing was sent. Use a wallet of your own, or the key of its owner.",
  },
  idempotency_key_reused: {
    title: "This was sent before, with other content",
    advice: "Nothing more was moved. Look at the statement, then start a new transfer.",
  },
  rolled_back: {
    title: "The transfer was undone",
    advice: "Something failed on the way, and all of the money is back where it was.",
  },
  too_large: {
    title: "The request was too large",
    advice: "Nothing was sent. Shorten the reference and try again.",
  },
  invalid_request: {
    title: "The transfer cannot be sent like this",
    advice: "Nothing was sent. Correct it and try again.",
  },
};

/**
 * @param {{code: string, detail: string}} problem
 * @returns {{title: string, advice: string}}
 */
export function wordsOfRefusal({ code, detail }) {
  return (
    REFUSALS[code] ?? { title: "The transfer was refused", advice: `Nothing was moved. ${detail}` }
  );
}

const STATES = {
  buffered: { label: "Kept safely", tone: "warn" },
  accepted: { label: "Accepted", tone: "info" },
  reserved: { label: "Reserved", tone: "info" },
  deducted: { label: "On its way", tone: "info" },
  credited: { label: "Arriving", tone: "info" },
  committed: { label: "Committed", tone: "good" },
  rejected: { label: "Refused", tone: "bad" },
  rolled_back: { label: "Undone", tone: "bad" },
};

/** @param {Entry} entry @returns {{label: string, tone: string}} */
export function badgeOf(entry) {
  if (entry.phase === "refused") return { label: "Not sent", tone: "bad" };
  if (entry.phase === "stopped") {
    return entry.isInDoubt ? { label: "Unclear", tone: "warn" } : { label: "Not sent", tone: "quiet" };
  }
  if (entry.phase === "sending") {
    return entry.trouble ? { label: "Trying again", tone: "warn" } : { label: "Sending", tone: "info" };
  }
  const state = stateOf(entry);
  return STATES[state] ?? { label: state ?? "Under way", tone: "info" };
}

/** The state the API last told, if it ever did. @param {Entry} entry @returns {string | null} */
export function stateOf(entry) {
  if (entry.transfer) return entry.transfer.state;
  return entry.problem && entry.phase === "following" ? "rejected" : (entry.state ?? null);
}

/** One sentence that says how far it is, for those who listen. @param {Entry} entry */
export function sentenceOfState(entry) {
  if (entry.phase === "refused" || entry.problem) return wordsOfRefusal(entry.problem).title;
  if (entry.phase === "stopped") {
    return entry.isInDoubt ? "You stopped trying. It may have been sent." : "You stopped, and nothing was recorded.";
  }
  if (entry.phase === "sending") return entry.trouble ? "Trying again." : "Sending.";
  const sentences = {
    buffered: "Kept safely. It goes on when the database is back.",
    accepted: "Accepted.",
    reserved: "The money is reserved.",
    deducted: "The money has left the source.",
    credited: "The money has reached the destination.",
    committed: "Committed. The money has arrived.",
    rolled_back: "The transfer was undone.",
  };
  return sentences[stateOf(entry)] ?? "Under way.";
}
