/** Every process that gave a sign of life within the last hour. */
import { useNow } from "../shared/clock.js";
import { duration } from "../shared/format.js";
import { Empty } from "../shared/parts.js";
import { html } from "../shared/view.js";
import { passed_s } from "./ages.js";
import { Mark } from "./mark.js";
import { OutsideIcon } from "./ops_icons.js";
import { PartPanel } from "./part_panel.js";

/** @param {{polled: import("../shared/polling.js").Polled}} props */
export function WorkersPanel({ polled }) {
  const url = polled.data?.overview.flower_url;
  return html`
    <${PartPanel} part="workers" name="workers" title="Workers" polled=${polled}
      actions=${url && html`<${FlowerLink} url=${url} />`}>
      ${(workers, { parts }) => html`<${Workers} workers=${workers} at=${parts.workers.at} />`}
    </>
  `;
}

/** Only http and https: an address from a setting is not to become a script. */
function FlowerLink({ url }) {
  if (!/^https?:\/\//i.test(url)) return null;
  return html`
    <a class="button small" href=${url} target="_blank" rel="noopener noreferrer">
      Flower<${OutsideIcon} /><span class="unseen">, opens in a new tab</span>
    </a>
  `;
}

function Workers({ workers, at }) {
  if (!workers.length) {
    return html`<${Empty} title="No worker has given a sign of life">Transfers wait until one does.</>`;
  }
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Workers, table">
      <table class="table rows">
        <caption class="unseen">Workers and their last signs of life</caption>
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
  const age_s = Math.floor(worker.age_s + passed_s(at, now));
  return html`
    <tr data-worker=${worker.name}>
      <th scope="row">${worker.name}<span class="row-says">${worker.program}</span></th>
      <td><${Mark} tone=${worker.alive ? "good" : "bad"}>${worker.alive ? "Alive" : "Silent"}</></td>
      <td class="number muted">${duration(age_s)} ago</td>
    </tr>
  `;
}
