/** Statement panel: the postings of the selected wallet, newest first, page by page. */
import { POSTINGS } from "../../shared/api/answers.js";
import { usePolled } from "../../shared/api/polling.js";
import { walletName, walletTitle } from "../../shared/format/labels.js";
import { absoluteTime, shortTime } from "../../shared/format/times.js";
import { shortId } from "../../shared/ids.js";
import { Panel } from "../../shared/page/panel.js";
import { Empty, Id, Money, Skeleton } from "../../shared/parts.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";

const PAGE_LENGTH = 10;

const LEGS = {
  deduct: "Sent",
  credit: "Received",
  refund: "Returned",
  uncredit: "Taken back",
};

/**
 * Use the wallet's id as key, so that another wallet starts at its newest page.
 * @param {{api: import("../../shared/api/client.js").Api, wallet: object, wallets: object[]}} props
 */
export function StatementPanel({ api, wallet, wallets }) {
  // The cursors of the pages up to this one. The newest page has none.
  const [cursors, setCursors] = useState([]);
  const cursor = cursors.at(-1) ?? null;
  const path = `/v1/wallets/${wallet.id}/postings?limit=${PAGE_LENGTH}`;
  const polled = usePolled(
    (signal) =>
      api.get(cursor ? `${path}&cursor=${encodeURIComponent(cursor)}` : path, { shape: POSTINGS, signal }),
    { every_s: 10, on: [api, cursor] },
  );
  // A changed balance means new postings, so the statement is fetched at once.
  const balance = useRef(wallet.balance);
  useEffect(() => {
    if (balance.current !== wallet.balance) polled.refresh();
    balance.current = wallet.balance;
  }, [wallet.balance]);
  // The pressed button disappears with its page, so the focus moves to the new table.
  const hasTurned = useRef(false);
  const turn = (next) => {
    hasTurned.current = true;
    setCursors(next);
  };
  const older = (next) => turn([...cursors, next]);
  const newer = () => turn(cursors.slice(0, -1));
  return html`
    <${Panel} name="statement" title=${`Statement of ${walletTitle(wallet)}`} polled=${polled}
      skeleton=${html`<${Skeleton} lines=${PAGE_LENGTH} />`}>
      ${(page) => html`
        <${Postings} postings=${page.data} wallet=${wallet} wallets=${wallets} hasTurned=${hasTurned} />
        <nav class="pager" aria-label="Pages of the statement">
          ${cursors.length > 0 && html`<button class="button small" onClick=${newer}>Newer</button>`}
          ${page.next_cursor &&
          html`<button class="button small" onClick=${() => older(page.next_cursor)}>Older</button>`}
        </nav>
      `}
    </>
  `;
}

function Postings({ postings, wallet, wallets, hasTurned }) {
  const table = useRef(null);
  useEffect(() => {
    if (hasTurned.current) table.current?.focus();
    hasTurned.current = false;
  }, []);
  if (!postings.length) {
    return html`<${Empty} title="No postings yet">Sent and received amounts appear here.</>`;
  }
  return html`
    <div class="table-wrap" ref=${table} tabindex="0" role="region"
      aria-label=${`Postings of ${walletTitle(wallet)}`}>
      <table class="table statement">
        <caption class="unseen">Postings of ${walletTitle(wallet)}, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Type</th>
            <th scope="col">Other wallet</th>
            <th scope="col">Time</th>
            <th scope="col">Transfer</th>
            <th scope="col" class="number">Amount</th>
            <th scope="col" class="number">Balance</th>
          </tr>
        </thead>
        <tbody>
          ${postings.map(
            (posting) => html`
              <${Posting} key=${posting.transfer_id + posting.leg} posting=${posting} wallets=${wallets} />
            `,
          )}
        </tbody>
      </table>
    </div>
  `;
}

function Posting({ posting, wallets }) {
  const at = Date.parse(posting.created_at);
  const isIn = !posting.amount.startsWith("-");
  return html`
    <tr>
      <td class="cell-what">${LEGS[posting.leg] ?? posting.leg}</td>
      <td class="cell-with" title=${walletName(posting.counterparty, wallets)}>${walletName(posting.counterparty, wallets)}</td>
      <td class="cell-when">
        <time datetime=${posting.created_at} title=${absoluteTime(at)}>${shortTime(at)}</time>
      </td>
      <td class="cell-id"><${Id} id=${posting.transfer_id} what=${`id of transfer ${shortId(posting.transfer_id)}`} /></td>
      <td class="cell-amount number ${isIn ? "in" : "out"}"><${Money} amount=${posting.amount} sign /></td>
      <td class="cell-balance number"><${Money} amount=${posting.balance_after} /></td>
    </tr>
  `;
}
