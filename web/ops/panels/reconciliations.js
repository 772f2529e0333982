/** Reconciliations panel: the last runs, their findings, and a button that starts a run. */
import { RUN, RUNS } from "../../shared/api/answers.js";
import { errorMessage } from "../../shared/api/errors.js";
import { usePolled, useRefreshWhenAvailable } from "../../shared/api/polling.js";
import { formatCount } from "../../shared/format/amounts.js";
import { absoluteTime, duration } from "../../shared/format/times.js";
import { Panel } from "../../shared/page/panel.js";
import { Empty, StatusMark, TimeAgo } from "../../shared/parts.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";
import { Findings } from "./findings.js";

const EVERY_S = 3;
const SHOWN = 5;

/** @param {{api: import("../../shared/api/client.js").Api, isDatabaseUp: boolean}} props */
export function ReconciliationsPanel({ api, isDatabaseUp }) {
  const polled = usePolled(
    (signal) => api.get(`/v1/reconciliations?limit=${SHOWN}`, { shape: RUNS, signal }),
    { every_s: EVERY_S, on: [api] },
  );
  useRefreshWhenAvailable(polled, isDatabaseUp);
  const { start, isStarting, message } = useStart(api, polled.refresh);
  const actions = html`
    <button type="button" class="button small" aria-disabled=${isStarting} onClick=${start}>
      ${isStarting ? "Starting…" : "Run now"}
    </button>
  `;
  return html`
    <${Panel} name="reconciliations" title="Reconciliations" polled=${polled} actions=${actions}>
      ${(page) => html`
        <p class="said" role="status">${message}</p>
        <${Runs} api=${api} runs=${page.data} />
      `}
    </>
  `;
}

/** Starts a run. A second click does no harm: the API starts no second run at the same time. */
function useStart(api, onStarted) {
  const [isStarting, setStarting] = useState(false);
  const [message, setMessage] = useState("");
  const call = useRef(new AbortController());
  useEffect(() => () => call.current.abort(), []);
  const start = async () => {
    if (isStarting) return;
    setStarting(true);
    setMessage("");
    try {
      await api.post("/v1/reconciliations", {}, { shape: RUN, signal: call.current.signal });
      setMessage("A run is in progress.");
      onStarted();
    } catch (error) {
      if (error.kind === "cancelled") return;
      setMessage(`The run was not started. ${errorMessage(error)}`);
    }
    setStarting(false);
  };
  return { start, isStarting, message };
}

function Runs({ api, runs }) {
  const [chosen, setChosen] = useState(null);
  if (!runs.length) {
    return html`<${Empty} title="No runs yet">A run starts automatically every few minutes.</>`;
  }
  const shown = runs.find((run) => run.id === chosen) ?? runs.find((run) => run.findings_count);
  return html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Reconciliations, table">
      <table class="table rows">
        <caption class="unseen">The last runs, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Started</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Wallets</th>
            <th scope="col" class="number cell-took">Took</th>
            <th scope="col" class="number">Findings</th>
          </tr>
        </thead>
        <tbody>
          ${runs.map((run) => html`<${Run} key=${run.id} run=${run} isShown=${run.id === shown?.id} onShow=${() => setChosen(run.id)} />`)}
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
  const started = Date.parse(run.started_at);
  const took_s = run.finished_at && (Date.parse(run.finished_at) - started) / 1000;
  return html`
    <tr data-run=${run.id} data-run-state=${run.state}>
      <th scope="row">
        <${TimeAgo} at=${run.started_at} />
        <span class="row-says" title=${absoluteTime(started)}>${run.trigger === "operator" ? "by an operator" : "by the schedule"}</span>
      </th>
      <td><${StatusMark} tone=${tone}>${run.state === "running" ? `${word}, ${percent(run)}` : word}</></td>
      <td class="number">${formatCount(run.wallets_checked)}</td>
      <td class="number muted cell-took">${took_s === null ? "–" : duration(took_s)}</td>
      <td class="number"><${FoundCount} run=${run} isShown=${isShown} onShow=${onShow} /></td>
    </tr>
  `;
}

function percent(run) {
  return `${Math.floor((run.progress ?? 0) * 100)} %`;
}

function FoundCount({ run, isShown, onShow }) {
  const standing = run.standing_count ?? 0;
  return html`
    ${run.findings_count
      ? html`
          <button type="button" class="button small" aria-pressed=${isShown ? "true" : "false"} onClick=${onShow}>
            Show ${formatCount(run.findings_count)}
          </button>
        `
      : html`<span class="muted">none</span>`}
    ${standing > 0 && html`<span class="row-says warn-text">${formatCount(standing)} older are unresolved</span>`}
  `;
}
