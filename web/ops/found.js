/** The transfer that was looked for. Followed until it has ended. */
import { sentenceOf } from "../shared/api_errors.js";
import { absoluteTime } from "../shared/format.js";
import { Badge, Freshness, Money, Notice, Skeleton } from "../shared/parts.js";
import { usePolled } from "../shared/polling.js";
import { html, useEffect, useRef } from "../shared/view.js";
import { useAgain } from "./again.js";
import { TRANSFER } from "./overview_shape.js";
import { WholeId } from "./whole_id.js";
import { Timeline } from "./timeline.js";
import { stateOf, wordsOfFailure } from "./timeline_words.js";

const EVERY_S = 1.5;
const FINAL = new Set(["committed", "rejected", "rolled_back"]);

/**
 * @param {{api: import("../shared/api.js").Api, id: string, isWell: boolean,
 *   onClose: () => void}} props isWell: the database is
 */
export function Found({ api, id, isWell, onClose }) {
  // What has ended changes no more, so nobody is asked again.
  const ended = useRef(null);
  const load = async (signal) => {
    if (ended.current) return ended.current;
    const transfer = await api.get(`/v1/transfers/${id}`, { shape: TRANSFER, signal });
    if (FINAL.has(transfer.state)) ended.current = transfer;
    return transfer;
  };
  const polled = usePolled(load, { every_s: EVERY_S, on: [api] });
  useAgain(polled, isWell);
  const region = useRef(null);
  useEffect(() => {
    // Whoever followed a link from further down is taken along.
    region.current?.scrollIntoView({ block: "nearest" });
  }, [polled.data !== null]);
  return html`
    <div class="found" ref=${region} data-found=${polled.data?.state}>
      ${polled.data
        ? html`<${Freshness} polled=${polled} /><${Transfer} transfer=${polled.data} />`
        : html`<${NotYet} polled=${polled} />`}
      <button type="button" class="button small" onClick=${onClose}>Close</button>
    </div>
  `;
}

function NotYet({ polled }) {
  if (!polled.error) return html`<${Skeleton} lines=${5} />`;
  if (polled.error.status === 404) {
    return html`
      <${Notice} kind="warning" title="No transfer has this id." role="status">
        Neither in the database nor in the buffer. Is it another kind of id, such as a wallet's?
      </>
    `;
  }
  return html`
    <${Notice} kind="problem" title=${sentenceOf(polled.error)} role="status">
      It is tried again by itself.
      <button type="button" class="button small" onClick=${polled.refresh}>Try now</button>
    </>
  `;
}

function Transfer({ transfer }) {
  const { tone, label } = stateOf(transfer.state);
  return html`
    <div class="found-sum">
      <h3><${Money} amount=${transfer.amount} asset=${transfer.asset} /></h3>
      <${Badge} tone=${tone}>${label}</>
    </div>
    <p class="unseen" role="status">${label}.</p>
    ${transfer.failure && html`<${Failure} failure=${transfer.failure} />`}
    <${Timeline} entries=${transfer.timeline} state=${transfer.state} />
    <dl class="facts">
      <div><dt>From</dt><dd><${WholeId} id=${transfer.source} what="id of the source" /></dd></div>
      <div><dt>To</dt><dd><${WholeId} id=${transfer.destination} what="id of the destination" /></dd></div>
      ${transfer.reference && html`<div><dt>Reference</dt><dd>${transfer.reference}</dd></div>`}
      <div><dt>Accepted</dt><dd>${absoluteTime(Date.parse(transfer.created_at))}</dd></div>
    </dl>
  `;
}

function Failure({ failure }) {
  return html`
    <${Notice} kind="problem" title=${wordsOfFailure(failure.code)}>
      ${failure.detail} <code>${failure.code}</code>
    </>
  `;
}
