/** The transfers that were sent from this tab, each with how far it is. */
import { TimeAgo, Badge, Empty, Money } from "../shared/parts.js";
import { Panel } from "../shared/panel.js";
import { html } from "../shared/view.js";
import { badgeOf } from "./transfer_words.js";
import { nameOf } from "./wallet_names.js";

/**
 * @param {object} props
 * @param {import("./outbox_store.js").Entry[]} props.entries @param {object[]} props.wallets
 * @param {string | null} props.shown @param {(key: string) => void} props.onShow
 */
export function RecentPanel({ entries, wallets, shown, onShow }) {
  return html`
    <${Panel} name="recent" title="Sent from this tab">
      <${Recent} entries=${entries} wallets=${wallets} shown=${shown} onShow=${onShow} />
    </>
  `;
}

function Recent({ entries, wallets, shown, onShow }) {
  if (!entries.length) return html`<${Empty} title="Nothing sent yet" />`;
  return html`
    <ul class="recent">
      ${entries.map((entry) => {
        const { tone, label } = badgeOf(entry);
        return html`
          <li key=${entry.key}>
            <button type="button" class="recent-item" aria-pressed=${entry.key === shown ? "true" : "false"}
              onClick=${() => onShow(entry.key)}>
              <span class="recent-way"><bdi>${nameOf(entry.body.source, wallets)}</bdi> → <bdi>${nameOf(entry.body.destination, wallets)}</bdi></span>
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
