/**
 * A panel that shows one part of the overview. Guarantees that what is shown while the part
 * cannot be asked is marked as old, with its age and with the reason.
 */
import { useNow } from "../shared/clock.js";
import { ago } from "../shared/format.js";
import { Panel } from "../shared/panel.js";
import { html } from "../shared/view.js";
import { OLD_AFTER_MS } from "./ages.js";
import { ClockIcon } from "./ops_icons.js";

/**
 * @param {object} props those of Panel, and:
 * @param {string} props.part which one
 * @param {import("../shared/polling.js").Polled} props.polled with what was `Seen`
 * @param {(value: any, seen: import("./overview.js").Seen) => any} props.children draws it
 */
export function PartPanel({ part, polled, actions, children, ...rest }) {
  const draw = Array.isArray(children) ? children[0] : children;
  const known = polled.data?.parts[part] ?? null;
  return html`
    <${Panel} ...${rest} polled=${silenced(polled)}
      actions=${html`${known && html`<${Age} part=${known} isLate=${polled.error !== null} />`}${actions}`}>
      ${(seen) => html`
        <${Why} part=${seen.parts[part]} />
        ${seen.parts[part].at !== null && draw(seen.parts[part].value, seen)}
      `}
    </>
  `;
}

/** That the poll fails is said once, by the status; here only the age of what is shown counts. */
function silenced(polled) {
  return polled.data === null ? polled : { ...polled, error: null };
}

/** How old the part is; nothing while it is as fresh as it should be. */
function Age({ part, isLate }) {
  const now = useNow();
  const isFresh = part.why === null && !isLate && now - part.at < OLD_AFTER_MS;
  if (part.at === null || isFresh) return null;
  return html`<p class="age old"><${ClockIcon} />as of ${ago(part.at, now)}</p>`;
}

function Why({ part }) {
  if (part.why === null) return null;
  return html`
    <p class="part-unknown">
      <strong>Not known now:</strong> ${part.why}.
      ${part.at === null ? " It was not known before either." : " What was known last stands below."}
    </p>
  `;
}
