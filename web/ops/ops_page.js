/** The ops page: how everything stands, for whoever has an admin's key. */
import { html } from "../shared/view.js";
import { BreakersPanel } from "./breakers_panel.js";
import { Forbidden } from "./forbidden.js";
import { OldestPanel } from "./oldest_panel.js";
import { useOverview } from "./overview.js";
import { PricesPanel } from "./prices_panel.js";
import { QueuesPanel } from "./queues_panel.js";
import { ReconciliationsPanel } from "./reconciliations_panel.js";
import { ScansPanel } from "./scans_panel.js";
import { SearchPanel } from "./search_panel.js";
import { StatusPanel } from "./status_panel.js";
import { TransfersPanel } from "./transfers_panel.js";
import { WorkersPanel } from "./workers_panel.js";

/** @param {{api: import("../shared/api.js").Api}} props */
export function OpsPage({ api }) {
  const overview = useOverview(api);
  // Not for this key, or no longer: then nothing of what was seen stays either.
  if (overview.error?.status === 403) return html`<${Forbidden} />`;
  const isWell = overview.error === null && overview.data?.parts.transfers.why === null;
  return html`
    <div class="grid ops-grid">
      <${StatusPanel} polled=${overview} />
      <div class="two-thirds"><${TransfersPanel} polled=${overview} /></div>
      <div class="side stack">
        <${OldestPanel} polled=${overview} />
        <${SearchPanel} api=${api} isWell=${isWell} />
        <${WorkersPanel} polled=${overview} />
        <${BreakersPanel} polled=${overview} />
        <${PricesPanel} polled=${overview} />
      </div>
      <div class="two-thirds stack">
        <${QueuesPanel} polled=${overview} />
        <${ScansPanel} polled=${overview} />
        <${ReconciliationsPanel} api=${api} isWell=${isWell} />
      </div>
    </div>
  `;
}
