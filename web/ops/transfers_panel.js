/** How many transfers are where on their way, and how many settle. */
import { groupAmount } from "../shared/format.js";
import { ArrowIcon } from "../shared/icons.js";
import { html } from "../shared/view.js";
import { PartPanel } from "./part_panel.js";
import { Sparkline } from "./sparkline.js";

const WAY = [
  { state: "accepted", label: "Accepted", says: "recorded, waits for a worker" },
  { state: "reserved", label: "Reserved", says: "set aside in the source" },
  { state: "deducted", label: "Deducted", says: "taken from the source" },
  { state: "credited", label: "Credited", says: "given to the destination" },
];
const WIDTH = 100;

/** @param {{polled: import("../shared/polling.js").Polled}} props */
export function TransfersPanel({ polled }) {
  return html`
    <${PartPanel} part="transfers" name="transfers" title="Transfers" polled=${polled}>
      ${(transfers, { parts, history }) => html`
        <div class="pace">
          <p class="pace-figure"><span class="figure">${count(underWay(transfers.states))}</span> under way</p>
          <p class="pace-figure"><span class="figure">${count(transfers.settled_last_minute)}</span> settled in the last minute</p>
          <${Sparkline} samples=${history.of("settled")} what="settled per minute" />
        </div>
        <${Flow} states=${transfers.states} />
        <${Ends} states=${transfers.states} buffered=${parts.buffered} />
      `}
    </>
  `;
}

/** A count as it is read; numbers beyond what JavaScript counts exactly are no counts. */
export function count(value) {
  return value === null ? "–" : groupAmount(String(value));
}

function underWay(states) {
  return WAY.reduce((sum, { state }) => sum + states[state], 0);
}

/** The bars are in proportion to each other; what has committed is the end, and not measured. */
function Flow({ states }) {
  const whole = underWay(states);
  return html`
    <ol class="flow">
      ${WAY.map(({ state, label, says }) => html`
        <li key=${state} class="flow-step ${states[state] ? "" : "nothing"}" data-state=${state}>
          <span class="flow-label">${label}<${ArrowIcon} /></span>
          <span class="flow-count">${count(states[state])}</span>
          <${Share} part=${states[state]} whole=${whole} />
          <span class="flow-says">${says}</span>
        </li>
      `)}
      <li class="flow-step end" data-state="committed">
        <span class="flow-label">Committed</span>
        <span class="flow-count">${count(states.committed)}</span>
        <${Share} part=${states.committed ? 1 : 0} whole=${1} />
        <span class="flow-says">in all, arrived</span>
      </li>
    </ol>
  `;
}

function Share({ part, whole }) {
  // What is there at all is seen: a thousandth still has two hundredths of the width.
  const width = part ? Math.max(2, (part / whole) * WIDTH) : 0;
  return html`
    <svg class="share" viewBox=${`0 0 ${WIDTH} 6`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="share-ground" width=${WIDTH} height="6" />
      <rect class="share-part" width=${width} height="6" />
    </svg>
  `;
}

/** What is beside the way: before it, and ended otherwise. */
function Ends({ states, buffered }) {
  const why = buffered.why === null ? "" : `, as last known: ${buffered.why}`;
  return html`
    <dl class="ends">
      <div data-state="buffered" class=${buffered.value ? "amiss" : ""}>
        <dt>Buffered</dt>
        <dd>${count(buffered.value)}<span class="ends-says">wait for the database${why}</span></dd>
      </div>
      <div data-state="rejected">
        <dt>Rejected</dt>
        <dd>${count(states.rejected)}<span class="ends-says">refused, nothing moved</span></dd>
      </div>
      <div data-state="rolled_back">
        <dt>Rolled back</dt>
        <dd>${count(states.rolled_back)}<span class="ends-says">undone, all refunded</span></dd>
      </div>
    </dl>
  `;
}
