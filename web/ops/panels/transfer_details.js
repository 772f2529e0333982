/** Details of one transfer: amount, state, timeline and wallets. Polled until it has ended. */
import { TRANSFER_DETAIL } from "../../shared/api/answers.js";
import { errorMessage } from "../../shared/api/errors.js";
import { usePolled, useRefreshWhenAvailable } from "../../shared/api/polling.js";
import { eventLabel, failureText, isFinal, stateLabel } from "../../shared/format/labels.js";
import { absoluteTime, duration } from "../../shared/format/times.js";
import { CheckIcon, ClockIcon, CrossIcon, WarnIcon } from "../../shared/icons.js";
import { Badge, Freshness, FullId, Money, Notice, Skeleton } from "../../shared/parts.js";
import { html, useEffect, useRef } from "../../shared/view.js";

const EVERY_S = 1.5;

/**
 * @param {{api: import("../../shared/api/client.js").Api, id: string, isDatabaseUp: boolean,
 *   onClose: () => void}} props
 */
export function TransferDetails({ api, id, isDatabaseUp, onClose }) {
  // A transfer in a final state changes no more, so it is not fetched again.
  const ended = useRef(null);
  const load = async (signal) => {
    if (ended.current) return ended.current;
    const transfer = await api.get(`/v1/transfers/${id}`, { shape: TRANSFER_DETAIL, signal });
    if (isFinal(transfer.state)) ended.current = transfer;
    return transfer;
  };
  const polled = usePolled(load, { every_s: EVERY_S, on: [api] });
  useRefreshWhenAvailable(polled, isDatabaseUp);
  const region = useRef(null);
  useEffect(() => {
    // A link further down on the page may have been clicked.
    region.current?.scrollIntoView({ block: "nearest" });
  }, [polled.data !== null]);
  return html`
    <div class="found" ref=${region} data-found=${polled.data?.state}>
      ${polled.data
        ? html`<${Freshness} polled=${polled} /><${Transfer} transfer=${polled.data} />`
        : html`<${LoadingOrError} polled=${polled} />`}
      <button type="button" class="button small" onClick=${onClose}>Close</button>
    </div>
  `;
}

function LoadingOrError({ polled }) {
  if (!polled.error) return html`<${Skeleton} lines=${5} />`;
  if (polled.error.status === 404) {
    return html`
      <${Notice} kind="warning" title="No transfer has this id." role="status">
        It is neither in the database nor in the buffer. Check that it is the id of a transfer, and
        not of a wallet.
      </>
    `;
  }
  return html`
    <${Notice} kind="problem" title=${errorMessage(polled.error)} role="status">
      This page retries automatically.
      <button type="button" class="button small" onClick=${polled.refresh}>Try now</button>
    </>
  `;
}

function Transfer({ transfer }) {
  const { tone, label } = stateLabel(transfer.state);
  return html`
    <div class="found-sum">
      <h3><${Money} amount=${transfer.amount} asset=${transfer.asset} /></h3>
      <${Badge} tone=${tone}>${label}</>
    </div>
    <p class="unseen" role="status">${label}.</p>
    ${transfer.failure && html`<${Failure} failure=${transfer.failure} />`}
    <${Timeline} entries=${transfer.timeline} state=${transfer.state} />
    <dl class="facts">
      <div><dt>From</dt><dd><${FullId} id=${transfer.source} what="id of the source" /></dd></div>
      <div><dt>To</dt><dd><${FullId} id=${transfer.destination} what="id of the destination" /></dd></div>
      ${transfer.reference && html`<div><dt>Reference</dt><dd>${transfer.reference}</dd></div>`}
      <div><dt>Accepted</dt><dd>${absoluteTime(Date.parse(transfer.created_at))}</dd></div>
    </dl>
  `;
}

function Failure({ failure }) {
  const { title, effect } = failureText(failure);
  return html`
    <${Notice} kind="problem" title=${`${title}. ${effect}`}>
      ${failure.detail} <code>${failure.code}</code>
    </>
  `;
}

const EVENT_ICONS = { good: CheckIcon, warn: WarnIcon, bad: CrossIcon };

/** @param {{entries: object[], state: string}} props entries: in order of time */
function Timeline({ entries, state }) {
  const start = entries.length ? Date.parse(entries[0].at) : 0;
  return html`
    <ol class="timeline" aria-label="Timeline">
      ${entries.map((entry, index) => html`<${TimelineEntry} key=${index} entry=${entry} start=${start} />`)}
      ${!isFinal(state) &&
      html`
        <li class="timeline-entry current">
          <span class="timeline-mark"><${ClockIcon} /></span>
          <p class="timeline-what">In progress</p>
        </li>
      `}
    </ol>
  `;
}

function TimelineEntry({ entry, start }) {
  const at = Date.parse(entry.at);
  const { label, tone } = eventLabel(entry.event);
  return html`
    <li class="timeline-entry ${tone}" data-event=${entry.event}>
      <span class="timeline-mark"><${EVENT_ICONS[tone]} /></span>
      <p class="timeline-what">${label}${entry.attempt !== undefined && html`<span class="timeline-attempt">attempt ${entry.attempt}</span>`}</p>
      <p class="timeline-when">
        <time datetime=${entry.at} title=${absoluteTime(at)}>${preciseTime.format(at)}</time>
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

/** The local time with milliseconds. */
const preciseTime = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});
