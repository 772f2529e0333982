/** One transfer that was sent from here: its track, or why it did not go through. */
import { useNow } from "../shared/clock.js";
import { duration, shortTime } from "../shared/format.js";
import { ArrowIcon } from "../shared/icons.js";
import { Badge, Id, Money, Notice } from "../shared/parts.js";
import { html, useEffect, useRef } from "../shared/view.js";
import { Track } from "./transfer_track.js";
import { badgeOf, sentenceOfState, stateOf, wordsOfRefusal } from "./transfer_words.js";
import { nameOf } from "./wallet_names.js";

/**
 * @param {object} props
 * @param {import("./outbox_store.js").Entry} props.entry
 * @param {import("./outbox.js").Outbox} props.outbox
 * @param {object[]} props.wallets
 * @param {() => void} props.onNew @param {() => void} props.onCorrect
 */
export function TransferView({ entry, outbox, wallets, onNew, onCorrect }) {
  const heading = useRef(null);
  // Whoever sent it with the keyboard is taken along; the form that had the focus is gone.
  useEffect(() => heading.current?.focus(), [entry.key]);
  const { tone, label } = badgeOf(entry);
  return html`
    <div class="transfer" data-phase=${entry.phase} data-state=${stateOf(entry)}>
      <div class="transfer-sum">
        <h3 ref=${heading} tabindex="-1"><${Money} amount=${entry.body.amount} asset=${entry.body.asset} /></h3>
        <${Badge} tone=${tone}>${label}</>
      </div>
      <p class="transfer-way">
        <bdi>${nameOf(entry.body.source, wallets)}</bdi><${ArrowIcon} />
        <span class="unseen">to</span><bdi>${nameOf(entry.body.destination, wallets)}</bdi>
      </p>
      <p class="unseen" role="status">${sentenceOfState(entry)}</p>
      ${entry.phase !== "refused" && html`<${Track} transfer=${entry.transfer} />`}
      <${Situation} entry=${entry} outbox=${outbox} />
      <${Facts} entry=${entry} />
      <div class="transfer-buttons">
        ${entry.phase === "sending" &&
        html`<button class="button" onClick=${() => outbox.stop(entry.key)}>Stop trying</button>`}
        ${outbox.mayResume(entry) &&
        html`<button class="button primary" onClick=${() => outbox.resume(entry.key)}>
          Go on with this transfer
        </button>`}
        ${entry.phase === "refused" &&
        html`<button class="button primary" onClick=${onCorrect}>Correct it</button>`}
        ${entry.phase !== "sending" &&
        html`<button class="button" onClick=${onNew}>New transfer</button>`}
      </div>
    </div>
  `;
}

/** What there is to say beyond the track. */
function Situation({ entry, outbox }) {
  if (entry.problem) {
    const { title, advice } = wordsOfRefusal(entry.problem);
    return html`<${Notice} kind="problem" title=${title}>${advice}</>`;
  }
  if (entry.phase === "stopped") return html`<${Stopped} entry=${entry} outbox=${outbox} />`;
  if (entry.trouble) return html`<${Trouble} entry=${entry} />`;
  if (stateOf(entry) === "buffered") {
    return html`
      <${Notice} kind="warning" title="Kept safely, the database is away">
        Your transfer is stored and cannot be lost. It goes on by itself when the database is back.
      </>
    `;
  }
  if (!entry.isKept && entry.phase === "sending") {
    return html`
      <${Notice} kind="warning" title="Do not reload this page">
        This browser does not let the page keep it, so a reload would lose track of it.
      </>
    `;
  }
  return null;
}

function Stopped({ entry, outbox }) {
  if (!entry.isInDoubt) {
    return html`
      <${Notice} kind="info" title="You stopped, and nothing was recorded">
        No attempt got through, so no money was moved.
      </>
    `;
  }
  return html`
    <${Notice} kind="warning" title="It may have been sent">
      An attempt went out and its answer never came. Look at the statement before you send this
      again: a new transfer would be a second one.
      ${outbox.mayResume(entry)
        ? " Going on with this one is safe: it is moved once at most."
        : " It was sent with another API key, so only that one can go on with it."}
    </>
  `;
}

function Trouble({ entry }) {
  const now = useNow();
  const wait_s = Math.ceil((entry.trouble.retryAt - now) / 1000);
  const next = wait_s > 0 ? `in ${duration(wait_s)}` : "now";
  if (entry.phase === "following") {
    return html`
      <${Notice} kind="warning" title=${entry.trouble.sentence}>
        The transfer is recorded and goes on without this page. Looking again ${next}.
      </>
    `;
  }
  return html`
    <${Notice} kind="warning" title=${entry.trouble.sentence}>
      ${entry.isInDoubt
        ? "It is not known whether your transfer was recorded."
        : "Your transfer was not recorded yet."}
      ${" "}It is sent again ${next}, as the same transfer: it is moved once, however often it is
      sent. To change it, stop first.
      ${!entry.isKept && html` <strong>Do not reload this page</strong>: it would lose track of it.`}
    </>
  `;
}

function Facts({ entry }) {
  return html`
    <dl class="facts">
      ${entry.body.reference &&
      html`<div><dt>Reference</dt><dd>${entry.body.reference}</dd></div>`}
      <div><dt>Started</dt><dd>${shortTime(Date.parse(entry.startedAt))}</dd></div>
      ${entry.id && html`<div><dt>Transfer</dt><dd><${Id} id=${entry.id} what="transfer id" /></dd></div>`}
    </dl>
  `;
}
