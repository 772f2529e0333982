/** Panel of the transfers that were sent from this tab, each with its state. */
import { walletName } from "../../shared/format/labels.js";
import { Panel } from "../../shared/page/panel.js";
import { Badge, Empty, Money, TimeAgo } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { entryBadge } from "../entry_labels.js";

/**
 * @param {object} props
 * @param {import("../outbox_store.js").Entry[]} props.entries @param {object[]} props.wallets
 * @param {string | null} props.shown @param {(key: string) => void} props.onShow
 */
export function SentTransfersPanel({ entries, wallets, shown, onShow }) {
  return html`
    <${Panel} name="recent" title="Sent from this tab">
      <${SentTransfers} entries=${entries} wallets=${wallets} shown=${shown} onShow=${onShow} />
    </>
  `;
}

function SentTransfers({ entries, wallets, shown, onShow }) {
  if (!entries.length) return html`<${Empty} title="No transfers yet" />`;
  return html`
    <ul class="recent">
      ${entries.map((entry) => {
        const { tone, label } = entryBadge(entry);
        return html`
          <li key=${entry.key}>
            <button type="button" class="recent-item" aria-pressed=${entry.key === shown ? "true" : "false"}
              onClick=${() => onShow(entry.key)}>
              <span class="recent-way"><bdi>${walletName(entry.body.source, wallets)}</bdi> → <bdi>${walletName(entry.body.destination, wallets)}</bdi></span>
              <${Money} amount=${entry.body.amount} asset=${entry.body.asset} />
              <span class="recent-when"><${TimeAgo} at=${entry.startedAt} /></span>
              <${Badge} tone=${tone}>${label}</>
            </button>
          </li>
        `;
      })}
    </ul>
  `;
}
