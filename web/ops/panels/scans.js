/** Scans panel: the result of the last run of each scan, and whether the next is overdue. */
import { absoluteTime, ago, useNow } from "../../shared/format/times.js";
import { StatusMark } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel } from "../overview_panel.js";

/** A scan without a run for longer than this is overdue: many times its interval. */
const OVERDUE_S = { recovery: 60, drain: 30, prices: 30, servers: 60 };
const PURPOSES = {
  recovery: "finds transfers that are stuck",
  drain: "moves buffered requests into the database",
  prices: "fetches prices",
  servers: "checks the broker and the cache",
  reconciliation: "checks the ledger for errors",
};

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function ScansPanel({ polled }) {
  return html`
    <${OverviewPanel} part="scans" name="scans" title="Scans" polled=${polled}>
      ${(scans, { parts }) => html`
        <div class="table-wrap" tabindex="0" role="region" aria-label="Scans, table">
          <table class="table rows">
            <caption class="unseen">Scans and their last runs</caption>
            <thead>
              <tr>
                <th scope="col">Scan</th>
                <th scope="col">State</th>
                <th scope="col">Result</th>
                <th scope="col" class="number">Last run</th>
              </tr>
            </thead>
            <tbody>
              ${scans.map((scan) => html`<${Scan} key=${scan.name} scan=${scan} isFresh=${parts.scans.why === null} />`)}
            </tbody>
          </table>
        </div>
      `}
    </>
  `;
}

function Scan({ scan, isFresh }) {
  const now = useNow();
  const at = scan.at && Date.parse(scan.at);
  const { tone, word } = scanStatus(scan, at === null ? null : (now - at) / 1000, isFresh);
  return html`
    <tr data-scan=${scan.name}>
      <th scope="row">${scan.name}<span class="row-says cell-about">${PURPOSES[scan.name] ?? ""}</span></th>
      <td><${StatusMark} tone=${tone}>${word}</></td>
      <td class="cell-result">${scan.result}</td>
      <td class="number muted">
        ${at === null ? "never" : html`<time datetime=${scan.at} title=${absoluteTime(at)}>${ago(at, now)}</time>`}
      </td>
    </tr>
  `;
}

/** Overdue needs fresh data: a scan may have run since old data was fetched. */
function scanStatus(scan, age_s, isFresh) {
  if (scan.at === null) return { tone: "warn", word: "No run yet" };
  if (!scan.ok) return { tone: "bad", word: "Failed" };
  if (isFresh && age_s > (OVERDUE_S[scan.name] ?? Infinity)) return { tone: "warn", word: "Overdue" };
  return { tone: "good", word: "OK" };
}
