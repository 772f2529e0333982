/** The runs of the consistency scan, what they found, and beginning one. */
import { sentenceOf } from "../shared/api_errors.js";
import { absoluteTime, duration } from "../shared/format.js";
import { Panel } from "../shared/panel.js";
import { Empty, TimeAgo } from "../shared/parts.js";
import { usePolled } from "../shared/polling.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { useAgain } from "./again.js";
import { Findings } from "./findings.js";
import { Mark } from "./mark.js";
import { RUN, RUNS } from "./overview_shape.js";
import { count } from "./transfers_panel.js";

const EVERY_S = 3;
const SHOWN = 5;

/** @param {{api: import("../shared/api.js").Api, isWell: boolean}} props isWell: the database is */
export function ReconciliationsPanel({ api, isWell }) {
  const polled = usePolled(
    (signal) => api.get(`/v1/reconciliations?limit=${SHOWN}`, { shape: RUNS, signal }),
    { every_s: EVERY_S, on: [api] },
  );
  useAgain(polled, isWell);
  const { begin, isBeginning, said } = useBeginning(api, polled.refresh);
  const actions = html`
    <button type="button" class="button small" aria-disabled=${isBeginning} onClick=${begin}>
      ${isBeginning ? "Beginning…" : "Run now"}
    </button>
  `;
  return html`
    <${Panel} name="reconciliations" title="Reconciliations" polled=${polled} actions=${actions}>
      ${(page) => html`
        <p class="said" role="status">${said}</p>
        <${Runs} api=${api} runs=${page.data} />
      `}
    </>
  `;
}

/** Beginning a run. A second click does no harm: while one is under way the API begins no other. */
function useBeginning(api, onBegun) {
  const [isBeginning, setBeginning] = useState(false);
  const [said, setSaid] = useState("");
  const call = useRef(new AbortController());
  useEffect(() => () => call.current.abort(), []);
  const begin = async () => {
    if (isBeginning) return;
    setBeginning(true);
    setSaid("");
    try {
      await api.post("/v1/reconciliations", {}, { shape: RUN, signal: call.current.signal });
      setSaid("A run is under way.");
      onBegun();
    } catch (error) {
      if (error.kind === "stopped") return;
      setSaid(`It was not begun. ${sentenceOf(error)}`);
    }
    setBeginning(false);
  };
  return { begin, isBeginning, said };
}

function Runs({ api, runs }) {
  const [chosen, choose] = useState(null);
  if (!runs.length) {
    return html`<${Empty} title="No run yet">One begins by itself every few minutes.</>`;
  }
  const shown = runs.find((run) => run.id === chosen) ?? runs.find((run) => run.findings_count);
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Reconciliations, table">
      <table class="table rows">
        <caption class="unseen">The last runs, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Begun</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Wallets</th>
            <th scope="col" class="number cell-took">Took</th>
            <th scope="col" class="number">Findings</th>
          </tr>
        </thead>
        <tbody>
          ${runs.map((run) => html`<${Run} key=${run.id} run=${run} isShown=${run.id === shown?.id} onShow=${() => choose(run.id)} />`)}
        </tbody>
      </table>
    </div>
    ${shown && shown.findings_count > 0 && html`<${Findings} key=${`${shown.id} ${shown.findings_count}`} api=${api} run=${shown} />`}
  `;
}

const STATES = {
  running: { tone: "quiet", word: "Running" },
  finished: { tone: "good", word: "Finished" },
  failed: { tone: "bad", word: "Failed" },
};

function Run({ run, isShown, onShow }) {
  const { tone, word } = STATES[run.state];
  const began = Date.parse(run.started_at);
  const took_s = run.finished_at && (Date.parse(run.finished_at) - began) / 1000;
  return html`
    <tr data-run=${run.id} data-run-state=${run.state}>
      <th scope="row">
        <${TimeAgo} at=${run.started_at} />
        <span class="row-says" title=${absoluteTime(began)}>${run.trigger === "operator" ? "by an operator" : "by the schedule"}</span>
      </th>
      <td><${Mark} tone=${tone}>${word}</></td>
      <td class="number">${count(run.wallets_checked)}</td>
      <td class="number muted cell-took">${took_s === null ? "–" : duration(took_s)}</td>
      <td class="number"><${FoundCount} run=${run} isShown=${isShown} onShow=${onShow} /></td>
    </tr>
  `;
}

function FoundCount({ run, isShown, onShow }) {
  const standing = run.standing_count ?? 0;
  return html`
    ${run.findings_count
      ? html`
          <button type="button" class="button small" aria-pressed=${isShown ? "true" : "false"} onClick=${onShow}>
            Show ${count(run.findings_count)}
          </button>
        `
      : html`<span class="muted">none</span>`}
    ${standing > 0 && html`<span class="row-says warn-text">${count(standing)} older still stand</span>`}
  `;
}
