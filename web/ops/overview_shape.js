/** What the ops page reads of the API's answers. */
import {
  amount,
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
  yesOrNo,
} from "../shared/shapes.js";

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
  workers: nullable(listOf(object({ name: text, program: text, age_s: number, alive: yesOrNo }))),
  breakers: listOf(object({ name: text, state: text, detail: text })),
  prices: nullable(
    listOf(
      object({
        symbol: text,
        price: amount,
        source: oneOf("live", "stale", "static"),
        as_of: nullable(time),
        age_s: nullable(number),
      }),
    ),
  ),
  scans: nullable(listOf(object({ name: text, at: nullable(time), ok: yesOrNo, result: text }))),
  flower_url: nullable(text),
  unknown: record(text),
});

export const TRANSFER = object({
  id: text,
  source: text,
  destination: text,
  asset: text,
  amount,
  state: text,
  reference: nullable(text),
  failure: nullable(object({ code: text, detail: text })),
  created_at: time,
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

const VALUES = record((value) => value); // any value: it is drawn as text
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
      before: nullable(VALUES),
      after: nullable(VALUES),
      at: time,
    }),
  ),
});
