/**
 * OverviewPanel: a panel for one part of the overview. Guarantees that old data is marked with
 * its age, and with the reason while the part is unavailable.
 */
import { ago, useNow } from "../shared/format/times.js";
import { ClockIcon } from "../shared/icons.js";
import { Panel } from "../shared/page/panel.js";
import { html } from "../shared/view.js";

const STALE_AFTER_MS = 10_000;

/**
 * The time since the overview was fetched, on this clock, because the server's can differ. It
 * stops when the panel begins to show the age of its data.
 * @param {number} at time of the answer @param {number} now milliseconds
 */
export function elapsed_s(at, now) {
  return Math.min(Math.max(0, now - at), STALE_AFTER_MS) / 1000;
}

/**
 * @param {object} props those of Panel, and:
 * @param {string} props.part name of the part
 * @param {import("../shared/api/polling.js").Polled} props.polled with a `KnownOverview`
 * @param {(value: any, known: import("./overview.js").KnownOverview) => any} props.children draws it
 */
export function OverviewPanel({ part, polled, actions, children, ...rest }) {
  const draw = Array.isArray(children) ? children[0] : children;
  const current = polled.data?.parts[part] ?? null;
  return html`
    <${Panel} ...${rest} polled=${withoutError(polled)}
      actions=${html`${current && html`<${Age} part=${current} isLate=${polled.error !== null} />`}${actions}`}>
      ${(known) => html`
        <${Unavailable} part=${known.parts[part]} />
        ${known.parts[part].at !== null && draw(known.parts[part].value, known)}
      `}
    </>
  `;
}

/** The status panel alone shows that the poll fails. The other panels show the age of their data. */
function withoutError(polled) {
  return polled.data === null ? polled : { ...polled, error: null };
}

/** The age of the part, only while it is older than it should be. */
function Age({ part, isLate }) {
  const now = useNow();
  const isFresh = part.why === null && !isLate && now - part.at < STALE_AFTER_MS;
  if (part.at === null || isFresh) return null;
  return html`<p class="age old"><${ClockIcon} />as of ${ago(part.at, now)}</p>`;
}

function Unavailable({ part }) {
  if (part.why === null) return null;
  return html`
    <p class="part-unknown">
      <strong>Unavailable:</strong> ${part.why}.
      ${part.at === null ? " There is no earlier data." : " The last known data is shown below."}
    </p>
  `;
}
