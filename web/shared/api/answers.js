/** The shapes of the API's answers, as far as the two pages read them. */
import {
  amount,
  boolean,
  listOf,
  nullable,
  number,
  object,
  oneOf,
  optional,
  pageOf,
  record,
  text,
  time,
} from "./shapes.js";

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
export const ASSETS = pageOf(object({ code: text }));

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

const PRICE = object({
  symbol: text,
  price: amount,
  source: oneOf("live", "stale", "static"),
  as_of: nullable(time),
  age_s: nullable(number),
});
export const PRICES = pageOf(PRICE);

const TRANSFER_MEMBERS = {
  id: text,
  source: text,
  destination: text,
  asset: text,
  amount,
  state: text,
  reference: nullable(text),
  failure: nullable(object({ code: text, detail: text })),
  created_at: time,
};
export const TRANSFER = object(TRANSFER_MEMBERS);
export const TRANSFER_DETAIL = object({
  ...TRANSFER_MEMBERS,
  timeline: listOf(
    object({
      event: text,
      at: time,
      worker: optional(text),
      attempt: optional(number),
      detail: optional(text),
    }),
  ),
});

const STATUS = oneOf("ok", "degraded", "down");

export const OVERVIEW = object({
  at: time,
  status: STATUS,
  components: record(object({ status: STATUS, detail: text })),
  transfers: object({
    states: object({
      buffered: nullable(number),
      accepted: nullable(number),
      reserved: nullable(number),
      deducted: nullable(number),
      credited: nullable(number),
      committed: nullable(number),
      rejected: nullable(number),
      rolled_back: nullable(number),
    }),
    settled_last_minute: nullable(number),
    oldest_unfinished: nullable(object({ id: text, state: text, age_s: number })),
  }),
  queues: nullable(listOf(object({ name: text, waiting: number, purpose: text }))),
  workers: nullable(listOf(object({ name: text, program: text, age_s: number, alive: boolean }))),
  breakers: listOf(object({ name: text, state: text, detail: text })),
  prices: nullable(listOf(PRICE)),
  scans: nullable(listOf(object({ name: text, at: nullable(time), ok: boolean, result: text }))),
  warnings: optional(listOf(text)), // the version before did not send it
  flower_url: nullable(text),
  unknown: record(text),
});

const RUN_MEMBERS = {
  id: text,
  trigger: text,
  state: oneOf("running", "finished", "failed"),
  started_at: time,
  finished_at: nullable(time),
  wallets_checked: number,
  assets_checked: number,
  findings_count: number,
  standing_count: optional(number),
};
export const RUN = object(RUN_MEMBERS);
export const RUNS = pageOf(RUN);

const ANY_VALUES = record((value) => value); // shown as text, so every value is fine
export const RUN_DETAIL = object({
  ...RUN_MEMBERS,
  findings: listOf(
    object({
      kind: text,
      wallet: nullable(text),
      asset: nullable(text),
      transfer: nullable(text),
      detail: text,
      action: text,
      before: nullable(ANY_VALUES),
      after: nullable(ANY_VALUES),
      at: time,
    }),
  ),
});
