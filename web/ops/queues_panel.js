/** What waits in each queue, what for, and how that went lately. */
import { Empty } from "../shared/parts.js";
import { html } from "../shared/view.js";
import { PartPanel } from "./part_panel.js";
import { Sparkline } from "./sparkline.js";
import { count } from "./transfers_panel.js";

/** @param {{polled: import("../shared/polling.js").Polled}} props */
export function QueuesPanel({ polled }) {
  return html`
    <${PartPanel} part="queues" name="queues" title="Queues" polled=${polled}>
      ${(queues, { history }) => html`<${Queues} queues=${queues} history=${history} />`}
    </>
  `;
}

function Queues({ queues, history }) {
  if (!queues.length) return html`<${Empty} title="No queues" />`;
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Queues, table">
      <table class="table rows queues">
        <caption class="unseen">Queues and how much waits in each</caption>
        <thead>
          <tr>
            <th scope="col">Queue</th>
            <th scope="col" class="cell-course">Lately</th>
            <th scope="col" class="number">Waiting</th>
          </tr>
        </thead>
        <tbody>
          ${queues.map(({ name, waiting, purpose }) => html`
            <tr key=${name} data-queue=${name}>
              <th scope="row">${name}<span class="row-says">${purpose}</span></th>
              <td class="cell-course"><${Sparkline} samples=${history.of(`queue ${name}`)} what=${`waiting in ${name}`} /></td>
              <td class="number ${waiting ? "strong" : "muted"}">${count(waiting)}</td>
            </tr>
          `)}
        </tbody>
      </table>
    </div>
  `;
}
