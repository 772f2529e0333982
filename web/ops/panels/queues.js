/** Queues panel: the purpose of each queue, its length now and in the last minutes. */
import { formatCount } from "../../shared/format/amounts.js";
import { Empty } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel } from "../overview_panel.js";
import { Sparkline } from "../sparkline.js";

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function QueuesPanel({ polled }) {
  return html`
    <${OverviewPanel} part="queues" name="queues" title="Queues" polled=${polled}>
      ${(queues, { history }) => html`<${Queues} queues=${queues} history=${history} />`}
    </>
  `;
}

function Queues({ queues, history }) {
  if (!queues.length) return html`<${Empty} title="No queues" />`;
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Queues, table">
      <table class="table rows queues">
        <caption class="unseen">Queues and their lengths</caption>
        <thead>
          <tr>
            <th scope="col">Queue</th>
            <th scope="col" class="cell-course">Last minutes</th>
            <th scope="col" class="number">Waiting</th>
          </tr>
        </thead>
        <tbody>
          ${queues.map(({ name, waiting, purpose }) => html`
            <tr key=${name} data-queue=${name}>
              <th scope="row">${name}<span class="row-says">${purpose}</span></th>
              <td class="cell-course"><${Sparkline} samples=${history.of(`queue ${name}`)} what=${`waiting in ${name}`} /></td>
              <td class="number ${waiting ? "strong" : "muted"}">${formatCount(waiting)}</td>
            </tr>
          `)}
        </tbody>
      </table>
    </div>
  `;
}
