/** The ops page: its layout, the check of the admin key and its start. */
import { OVERVIEW } from "../shared/api/answers.js";
import { ApiError } from "../shared/api/errors.js";
import { Panel } from "../shared/page/panel.js";
import { startPage } from "../shared/page/shell.js";
import { Notice } from "../shared/parts.js";
import { html } from "../shared/view.js";
import { useOverview } from "./overview.js";
import { BreakersPanel } from "./panels/breakers.js";
import { OldestTransferPanel } from "./panels/oldest_transfer.js";
import { PricesPanel } from "./panels/prices.js";
import { QueuesPanel } from "./panels/queues.js";
import { ReconciliationsPanel } from "./panels/reconciliations.js";
import { ScansPanel } from "./panels/scans.js";
import { SearchPanel } from "./panels/search.js";
import { StatusPanel } from "./panels/status.js";
import { TransfersPanel } from "./panels/transfers.js";
import { WorkersPanel } from "./panels/workers.js";

const NEEDS_ADMIN = "This page needs an admin key, and the key you entered belongs to a client.";

/** @param {{api: import("../shared/api/client.js").Api}} props */
function OpsPage({ api }) {
  const overview = useOverview(api);
  // The key has no admin rights, or no longer: data that was shown before disappears too.
  if (overview.error?.status === 403) return html`<${Forbidden} />`;
  const isDatabaseUp = overview.error === null && overview.data?.parts.transfers.why === null;
  return html`
    <div class="grid ops-grid">
      <${StatusPanel} polled=${overview} />
      <div class="two-thirds"><${TransfersPanel} polled=${overview} /></div>
      <div class="side stack">
        <${OldestTransferPanel} polled=${overview} />
        <${SearchPanel} api=${api} isDatabaseUp=${isDatabaseUp} />
        <${WorkersPanel} polled=${overview} />
        <${BreakersPanel} polled=${overview} />
        <${PricesPanel} polled=${overview} />
      </div>
      <div class="two-thirds stack">
        <${QueuesPanel} polled=${overview} />
        <${ScansPanel} polled=${overview} />
        <${ReconciliationsPanel} api=${api} isDatabaseUp=${isDatabaseUp} />
      </div>
    </div>
  `;
}

function Forbidden() {
  return html`
    <${Panel} name="forbidden" title="Operations are for admins" className="narrow">
      <${Notice} kind="warning" title="This page needs an admin key." role="status">
        The key in this tab belongs to a client. Press “Forget key” above and enter an admin key,
        or go to <a href="/">the client's wallets</a>.
      </>
    </>
  `;
}

/** Rejects a key that this page cannot use. A client's key is valid, but has no admin rights. */
async function checkKey(api) {
  try {
    await api.get("/v1/ops/overview", { shape: OVERVIEW });
  } catch (error) {
    if (error.status !== 403) throw error;
    throw new ApiError("problem", NEEDS_ADMIN, { status: 403, code: "needs_admin" });
  }
}

startPage({ page: "ops", title: "Operations", checkKey, content: OpsPage });
