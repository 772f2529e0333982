/** Wallets panel: the wallets of the key with their balances. One of them is selected. */
import { groupAmount, isZero } from "../../shared/format/amounts.js";
import { walletTitle } from "../../shared/format/labels.js";
import { PlusIcon } from "../../shared/icons.js";
import { Panel } from "../../shared/page/panel.js";
import { Badge, CopyButton, Empty, Money } from "../../shared/parts.js";
import { html, useState } from "../../shared/view.js";
import { NewWalletDialog } from "./new_wallet_dialog.js";

/**
 * @param {object} props
 * @param {import("../../shared/api/client.js").Api} props.api
 * @param {import("../../shared/api/polling.js").Polled} props.polled
 * @param {string | null} props.selected @param {(id: string) => void} props.onSelect
 * @param {(() => void) | null} props.onMore loads more of them; null when all are loaded
 */
export function WalletsPanel({ api, polled, selected, onSelect, onMore }) {
  const [isCreating, setCreating] = useState(false);
  const actions = html`
    <button class="button small" onClick=${() => setCreating(true)}><${PlusIcon} />New wallet</button>
  `;
  const created = (wallet) => {
    setCreating(false);
    polled.refresh();
    onSelect(wallet.id);
  };
  return html`
    <${Panel} name="wallets" title="Wallets" polled=${polled} actions=${actions}
      skeleton=${html`<${CardSkeletons} />`}>
      ${(wallets) => html`<${Wallets} wallets=${wallets} selected=${selected} onSelect=${onSelect} onMore=${onMore} />`}
    </>
    ${isCreating &&
    html`<${NewWalletDialog} api=${api} wallets=${polled.data ?? []} onCreated=${created} onClose=${() => setCreating(false)} />`}
  `;
}

function Wallets({ wallets, selected, onSelect, onMore }) {
  if (!wallets.length) {
    return html`<${Empty} title="No wallets yet">Create one, then send money to its id.</>`;
  }
  return html`
    <ul class="wallets">
      ${wallets.map(
        (wallet) => html`
          <${WalletCard} key=${wallet.id} wallet=${wallet} isSelected=${wallet.id === selected} onSelect=${onSelect} />
        `,
      )}
    </ul>
    ${onMore && html`<button class="button small more" onClick=${onMore}>Show more wallets</button>`}
  `;
}

const STATUS_TONES = { active: "good", frozen: "warn", closed: "quiet" };

function WalletCard({ wallet, isSelected, onSelect }) {
  const { asset, status } = wallet;
  const isSettled = isZero(wallet.reserved) && isZero(wallet.incoming);
  return html`
    <li class="wallet ${isSelected ? "selected" : ""} ${isSettled ? "settled" : ""}" data-wallet=${wallet.id}>
      <div class="wallet-top">
        <h3>
          <button type="button" class="wallet-name" aria-pressed=${isSelected ? "true" : "false"}
            onClick=${() => onSelect(wallet.id)}>${walletTitle(wallet)}</button>
        </h3>
        ${(status !== "active" || wallet.kind !== "customer") &&
        html`<${Badge} tone=${STATUS_TONES[status]}>${status === "active" ? wallet.kind : status}</>`}
        <span class="wallet-copy"><${CopyButton} text=${wallet.id} what=${`id of ${walletTitle(wallet)}`} /></span>
      </div>
      <p class="wallet-available ${groupAmount(wallet.available).length > 11 ? "long" : ""}"><${Money} amount=${wallet.available} asset=${asset} /></p>
      <p class="wallet-caption">available</p>
      <dl class="wallet-parts">
        ${["balance", "reserved", "incoming"].map(
          (name) => html`
            <div key=${name} class=${isZero(wallet[name]) ? "nothing" : ""}>
              <dt>${name}</dt>
              <dd><${Money} amount=${wallet[name]} /></dd>
            </div>
          `,
        )}
      </dl>
    </li>
  `;
}

function CardSkeletons() {
  return html`
    <div class="wallets" aria-hidden="true">
      ${[0, 1].map((index) => html`<div key=${index} class="wallet placeholder"><span class="bone"></span><span class="bone"></span><span class="bone"></span></div>`)}
    </div>
    <p class="unseen">Loading…</p>
  `;
}
