/** What the wallet page reads of the API's answers. */
import { amount, nullable, number, object, oneOf, listOf, optional, pageOf, text, time } from "../shared/shapes.js";

export const WALLET = object({
  id: text,
  asset: text,
  kind: text,
  name: nullable(text),
  status: text,
  balance: amount,
  reserved: amount,
  incoming: amount,
  available: amount,
});
export const WALLETS = pageOf(WALLET);

export const POSTINGS = pageOf(
  object({
    transfer_id: text,
    leg: text,
    amount,
    balance_after: amount,
    counterparty: text,
    created_at: time,
  }),
);

export const PRICES = pageOf(
  object({
    symbol: text,
    price: amount,
    source: oneOf("live", "stale", "static"),
    as_of: nullable(time),
    age_s: nullable(number),
  }),
);

const TRANSFER_MEMBERS = {
  id: text,
  source: text,
  destination: text,
  asset: text,
  amount,
  state: text,
  failure: nullable(object({ code: text, detail: text })),
  created_at: time,
};
export const TRANSFER = object(TRANSFER_MEMBERS);
export const TRANSFER_DETAIL = object({
  ...TRANSFER_MEMBERS,
  timeline: listOf(object({ event: text, at: time, detail: optional(text) })),
});
