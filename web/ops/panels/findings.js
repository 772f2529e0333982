/** Findings of a reconciliation run: what it found, and what it did about each. */
import { RUN_DETAIL } from "../../shared/api/answers.js";
import { errorMessage } from "../../shared/api/errors.js";
import { usePolled } from "../../shared/api/polling.js";
import { shortTime } from "../../shared/format/times.js";
import { FullId, Notice, Skeleton, StatusMark } from "../../shared/parts.js";
import { html, useState } from "../../shared/view.js";
import { TransferLink } from "../transfer_address.js";

const EVERY_S = 30; // findings do not change, but a running run adds more
const FIRST_SHOWN = 20;
const ACTIONS = {
  rebuilt: { tone: "warn", word: "Rebuilt" },
  frozen: { tone: "warn", word: "Frozen" },
  alarmed: { tone: "bad", word: "Operator needed" },
};

/** Use the run and its number of findings as key. @param {{api: any, run: {id: string}}} props */
export function Findings({ api, run }) {
  const [limit, setLimit] = useState(FIRST_SHOWN);
  const polled = usePolled(
    (signal) => api.get(`/v1/reconciliations/${run.id}`, { shape: RUN_DETAIL, signal }),
    { every_s: EVERY_S, on: [api] },
  );
  if (!polled.data) {
    if (!polled.error) return html`<${Skeleton} lines=${3} />`;
    return html`<${Notice} kind="problem" title=${errorMessage(polled.error)}>This page retries automatically.</>`;
  }
  const { findings } = polled.data;
  return html`
    <h3 class="findings-title">Findings of the run of ${shortTime(Date.parse(polled.data.started_at))}</h3>
    <ul class="findings">
      ${findings.slice(0, limit).map((finding, index) => html`<${Finding} key=${index} finding=${finding} />`)}
    </ul>
    ${findings.length > limit &&
    html`<button type="button" class="button small" onClick=${() => setLimit(limit * 5)}>Show more of ${findings.length}</button>`}
  `;
}

function Finding({ finding }) {
  const { tone, word } = ACTIONS[finding.action] ?? { tone: "warn", word: finding.action };
  return html`
    <li class="finding" data-finding=${finding.kind}>
      <p class="finding-top"><${StatusMark} tone=${tone}>${word}</><code>${finding.kind}</code></p>
      <p>${finding.detail}</p>
      <p class="finding-where">
        ${finding.asset && html`<span>${finding.asset}</span>`}
        ${finding.wallet && html`<span>wallet <${FullId} id=${finding.wallet} what="wallet id" /></span>`}
        ${finding.transfer && html`<span>transfer <${TransferLink} id=${finding.transfer} /></span>`}
      </p>
      <${Change} before=${finding.before} after=${finding.after} />
    </li>
  `;
}

/** The values that the action changed. */
function Change({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  if (!names.length) return null;
  return html`
    <table class="table change">
      <caption class="unseen">Before and after</caption>
      <thead>
        <tr><th scope="col">Value</th><th scope="col" class="number">Before</th><th scope="col" class="number">After</th></tr>
      </thead>
      <tbody>
        ${names.map((name) => html`
          <tr key=${name} class=${valueText(before?.[name]) === valueText(after?.[name]) ? "same" : ""}>
            <th scope="row">${name}</th>
            <td class="number">${valueText(before?.[name])}</td>
            <td class="number">${valueText(after?.[name])}</td>
          </tr>
        `)}
      </tbody>
    </table>
  `;
}

function valueText(value) {
  if (value === undefined || value === null) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}
