/** A transfer's life as a vertical track: each event with its time, and who did it. */
import { absoluteTime, duration } from "../shared/format.js";
import { html } from "../shared/view.js";
import { CheckIcon, CrossIcon } from "../shared/icons.js";
import { ClockIcon, WarnIcon } from "./ops_icons.js";
import { eventOf } from "./timeline_words.js";

const FINAL = new Set(["committed", "rejected", "rolled_back"]);
const ICONS = { good: CheckIcon, warn: WarnIcon, bad: CrossIcon };

/** @param {{entries: object[], state: string}} props in order of time */
export function Timeline({ entries, state }) {
  const start = entries.length ? Date.parse(entries[0].at) : 0;
  return html`
    <ol class="timeline" aria-label="Timeline">
      ${entries.map((entry, index) => html`<${Entry} key=${index} entry=${entry} start=${start} />`)}
      ${!FINAL.has(state) &&
      html`
        <li class="timeline-entry current">
          <span class="timeline-mark"><${ClockIcon} /></span>
          <p class="timeline-what">Under way</p>
        </li>
      `}
    </ol>
  `;
}

function Entry({ entry, start }) {
  const at = Date.parse(entry.at);
  const { label, tone } = eventOf(entry.event);
  return html`
    <li class="timeline-entry ${tone}" data-event=${entry.event}>
      <span class="timeline-mark"><${ICONS[tone]} /></span>
      <p class="timeline-what">${label}${entry.attempt !== undefined && html`<span class="timeline-attempt">attempt ${entry.attempt}</span>`}</p>
      <p class="timeline-when">
        <time datetime=${entry.at} title=${absoluteTime(at)}>${clockTime(entry.at)}</time>
        ${at > start && html`<span>+${duration((at - start) / 1000)}</span>`}
      </p>
      ${(entry.detail || entry.worker) &&
      html`
        <p class="timeline-more">
          ${entry.detail}${entry.detail && entry.worker && " "}
          ${entry.worker && html`<span class="timeline-worker">by <code>${entry.worker}</code></span>`}
        </p>
      `}
    </li>
  `;
}

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

/** The local time with milliseconds. @param {string} at */
export function clockTime(at) {
  return clock.format(Date.parse(at));
}
