/** The wallet page. */
import { Panel } from "../shared/panel.js";
import { html } from "../shared/view.js";

/** @param {{api: import("../shared/api.js").Api}} props */
export function WalletPage() {
  return html`<${Panel} name="wallets" title="Wallets"><p>…</p></>`;
}
