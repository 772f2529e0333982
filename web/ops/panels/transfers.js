/** Transfers panel: the number of transfers in each state, and how many settle per minute. */
import { formatCount } from "../../shared/format/amounts.js";
import { ArrowIcon } from "../../shared/icons.js";
import { html } from "../../shared/view.js";
import { OverviewPanel } from "../overview_panel.js";
import { Sparkline } from "../sparkline.js";

const UNFINISHED_STATES = [
  { state: "accepted", label: "Accepted", meaning: "recorded, waiting for a worker" },
  { state: "reserved", label: "Reserved", meaning: "set aside in the source" },
  { state: "deducted", label: "Deducted", meaning: "taken from the source" },
  { state: "credited", label: "Credited", meaning: "added to the destination" },
];
const WIDTH = 100;

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function TransfersPanel({ polled }) {
  return html`
    <${OverviewPanel} part="transfers" name="transfers" title="Transfers" polled=${polled}>
      ${(transfers, { parts, history }) => html`
        <div class="pace">
          <p class="pace-figure"><span class="figure">${formatCount(unfinishedCount(transfers.states))}</span> in progress</p>
          <p class="pace-figure"><span class="figure">${formatCount(transfers.settled_last_minute)}</span> settled in the last minute</p>
          <${Sparkline} samples=${history.of("settled")} what="settled per minute" />
        </div>
        <${Flow} states=${transfers.states} />
        <${Ends} states=${transfers.states} buffered=${parts.buffered} />
      `}
    </>
  `;
}

function unfinishedCount(states) {
  return UNFINISHED_STATES.reduce((sum, { state }) => sum + states[state], 0);
}

/** The bars show each state's share of the unfinished transfers. Committed ones are not part of it. */
function Flow({ states }) {
  const whole = unfinishedCount(states);
  return html`
    <ol class="flow">
      ${UNFINISHED_STATES.map(({ state, label, meaning }) => html`
        <li key=${state} class="flow-step ${states[state] ? "" : "nothing"}" data-state=${state}>
          <span class="flow-label">${label}<${ArrowIcon} /></span>
          <span class="flow-count">${formatCount(states[state])}</span>
          <${Share} part=${states[state]} whole=${whole} />
          <span class="flow-says">${meaning}</span>
        </li>
      `)}
      <li class="flow-step end" data-state="committed">
        <span class="flow-label">Committed</span>
        <span class="flow-count">${formatCount(states.committed)}</span>
        <${Share} part=${states.committed ? 1 : 0} whole=${1} />
        <span class="flow-says">total, money has arrived</span>
      </li>
    </ol>
  `;
}

function Share({ part, whole }) {
  // Even the smallest share gets 2 % of the width, so that it is visible.
  const width = part ? Math.max(2, (part / whole) * WIDTH) : 0;
  return html`
    <svg class="share" viewBox=${`0 0 ${WIDTH} 6`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="share-ground" width=${WIDTH} height="6" />
      <rect class="share-part" width=${width} height="6" />
    </svg>
  `;
}

/** The states outside the four steps: buffered before them, and the two kinds of failure. */
function Ends({ states, buffered }) {
  const note = buffered.why === null ? "" : `. This is the last known number: ${buffered.why}`;
  return html`
    <dl class="ends">
      <div data-state="buffered" class=${buffered.value ? "problem" : ""}>
        <dt>Buffered</dt>
        <dd>${formatCount(buffered.value)}<span class="ends-says">waiting for the database${note}</span></dd>
      </div>
      <div data-state="rejected">
        <dt>Rejected</dt>
        <dd>${formatCount(states.rejected)}<span class="ends-says">no money was moved</span></dd>
      </div>
      <div data-state="rolled_back">
        <dt>Rolled back</dt>
        <dd>${formatCount(states.rolled_back)}<span class="ends-says">all money was returned</span></dd>
      </div>
    </dl>
  `;
}
