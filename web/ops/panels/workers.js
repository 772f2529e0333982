/** Workers panel: every process that sent a heartbeat within the last hour. */
import { duration, useNow } from "../../shared/format/times.js";
import { ExternalIcon } from "../../shared/icons.js";
import { Empty, StatusMark } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel, elapsed_s } from "../overview_panel.js";

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function WorkersPanel({ polled }) {
  const url = polled.data?.overview.flower_url;
  return html`
    <${OverviewPanel} part="workers" name="workers" title="Workers" polled=${polled}
      actions=${url && html`<${FlowerLink} url=${url} />`}>
      ${(workers, { parts }) => html`<${Workers} workers=${workers} at=${parts.workers.at} />`}
    </>
  `;
}

/** Only http and https, so that an address from the settings cannot run a script. */
function FlowerLink({ url }) {
  if (!/^https?:\/\//i.test(url)) return null;
  return html`
    <a class="button small" href=${url} target="_blank" rel="noopener noreferrer">
      Flower<${ExternalIcon} /><span class="unseen">, opens in a new tab</span>
    </a>
  `;
}

function Workers({ workers, at }) {
  if (!workers.length) {
    return html`<${Empty} title="No worker has sent a heartbeat">Transfers wait until a worker runs. Check that the workers are started.</>`;
  }
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Workers, table">
      <table class="table rows">
        <caption class="unseen">Workers and their last heartbeats</caption>
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Heartbeat</th>
          </tr>
        </thead>
        <tbody>
          ${workers.map((worker) => html`<${Worker} key=${worker.name} worker=${worker} at=${at} />`)}
        </tbody>
      </table>
    </div>
  `;
}

function Worker({ worker, at }) {
  const now = useNow();
  const age_s = Math.floor(worker.age_s + elapsed_s(at, now));
  return html`
    <tr data-worker=${worker.name}>
      <th scope="row">${worker.name}<span class="row-says">${worker.program}</span></th>
      <td><${StatusMark} tone=${worker.alive ? "good" : "bad"}>${worker.alive ? "Alive" : "Silent"}</></td>
      <td class="number muted">${duration(age_s)} ago</td>
    </tr>
  `;
}
