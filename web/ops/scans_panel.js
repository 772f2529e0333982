/** The last run of each scan: whether it was well, and whether the next one is overdue. */
import { useNow } from "../shared/clock.js";
import { absoluteTime, ago } from "../shared/format.js";
import { html } from "../shared/view.js";
import { Mark } from "./mark.js";
import { PartPanel } from "./part_panel.js";

/** After how long without a run something is wrong: many times the pace of each. */
const OVERDUE_S = { recovery: 60, drain: 30, prices: 30, servers: 60 };
const ABOUT = {
  recovery: "finds transfers that stand still",
  drain: "takes buffered requests into the database",
  prices: "asks for prices",
  servers: "watches broker and cache",
  reconciliation: "holds the books against themselves",
};

/** @param {{polled: import("../shared/polling.js").Polled}} props */
export function ScansPanel({ polled }) {
  return html`
    <${PartPanel} part="scans" name="scans" title="Scans" polled=${polled}>
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
  const { tone, word } = judge(scan, at === null ? null : (now - at) / 1000, isFresh);
  return html`
    <tr data-scan=${scan.name}>
      <th scope="row">${scan.name}<span class="row-says cell-about">${ABOUT[scan.name] ?? ""}</span></th>
      <td><${Mark} tone=${tone}>${word}</></td>
      <td class="cell-result">${scan.result}</td>
      <td class="number muted">
        ${at === null ? "never" : html`<time datetime=${scan.at} title=${absoluteTime(at)}>${ago(at, now)}</time>`}
      </td>
    </tr>
  `;
}

/** What cannot be read now may have run since: old news is not called overdue. */
function judge(scan, age_s, isFresh) {
  if (scan.at === null) return { tone: "warn", word: "Not seen" };
  if (!scan.ok) return { tone: "bad", word: "Failed" };
  if (isFresh && age_s > (OVERDUE_S[scan.name] ?? Infinity)) return { tone: "warn", word: "Overdue" };
  return { tone: "good", word: "OK" };
}
