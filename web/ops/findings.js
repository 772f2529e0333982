/** What a run of the consistency scan found, and what it did about each. */
import { shortTime } from "../shared/format.js";
import { Notice, Skeleton } from "../shared/parts.js";
import { sentenceOf } from "../shared/api_errors.js";
import { usePolled } from "../shared/polling.js";
import { html, useState } from "../shared/view.js";
import { Mark } from "./mark.js";
import { RUN_DETAIL } from "./overview_shape.js";
import { TransferLink } from "./route.js";
import { WholeId } from "./whole_id.js";

const EVERY_S = 30; // a finding never changes; only a run that goes on finds more
const FIRST = 20;
const ACTIONS = {
  rebuilt: { tone: "good", word: "Rebuilt" },
  frozen: { tone: "warn", word: "Frozen" },
  alarmed: { tone: "bad", word: "Needs a human" },
};

/** To be keyed by the run and how much it found. @param {{api: any, run: {id: string}}} props */
export function Findings({ api, run }) {
  const [most, setMost] = useState(FIRST);
  const polled = usePolled(
    (signal) => api.get(`/v1/reconciliations/${run.id}`, { shape: RUN_DETAIL, signal }),
    { every_s: EVERY_S, on: [api] },
  );
  if (!polled.data) {
    if (!polled.error) return html`<${Skeleton} lines=${3} />`;
    return html`<${Notice} kind="problem" title=${sentenceOf(polled.error)}>It is tried again by itself.</>`;
  }
  const { findings } = polled.data;
  return html`
    <h3 class="findings-title">Found by the run of ${shortTime(Date.parse(polled.data.started_at))}</h3>
    <ul class="findings">
      ${findings.slice(0, most).map((finding, index) => html`<${Finding} key=${index} finding=${finding} />`)}
    </ul>
    ${findings.length > most &&
    html`<button type="button" class="button small" onClick=${() => setMost(most * 5)}>Show more of ${findings.length}</button>`}
  `;
}

function Finding({ finding }) {
  const { tone, word } = ACTIONS[finding.action] ?? { tone: "warn", word: finding.action };
  return html`
    <li class="finding" data-finding=${finding.kind}>
      <p class="finding-top"><${Mark} tone=${tone}>${word}</><code>${finding.kind}</code></p>
      <p>${finding.detail}</p>
      <p class="finding-where">
        ${finding.asset && html`<span>${finding.asset}</span>`}
        ${finding.wallet && html`<span>wallet <${WholeId} id=${finding.wallet} what="wallet id" /></span>`}
        ${finding.transfer && html`<span>transfer <${TransferLink} id=${finding.transfer} /></span>`}
      </p>
      <${Change} before=${finding.before} after=${finding.after} />
    </li>
  `;
}

/** What the action has changed, member by member. */
function Change({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  if (!names.length) return null;
  return html`
    <table class="table change">
      <caption class="unseen">Before and after</caption>
      <thead>
        <tr><th scope="col">What</th><th scope="col" class="number">Before</th><th scope="col" class="number">After</th></tr>
      </thead>
      <tbody>
        ${names.map((name) => html`
          <tr key=${name} class=${written(before?.[name]) === written(after?.[name]) ? "same" : ""}>
            <th scope="row">${name}</th>
            <td class="number">${written(before?.[name])}</td>
            <td class="number">${written(after?.[name])}</td>
          </tr>
        `)}
      </tbody>
    </table>
  `;
}

function written(value) {
  if (value === undefined || value === null) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}
