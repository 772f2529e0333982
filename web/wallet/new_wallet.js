/** The dialog that makes a wallet. */
import { sentenceOf } from "../shared/api_errors.js";
import { Dialog } from "../shared/dialog.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { WALLET } from "./wallet_shapes.js";

/** What a new Truepenny knows; one of yours may know more, so any code can be typed. */
const ASSETS = ["USD", "EUR", "USDT", "BTC", "BNB", "ETH"];

/**
 * @param {object} props
 * @param {import("../shared/api.js").Api} props.api
 * @param {object[]} props.wallets
 * @param {(wallet: object) => void} props.onMade @param {() => void} props.onClose
 */
export function NewWallet({ api, wallets, onMade, onClose }) {
  const [error, setError] = useState(null);
  const isMaking = useRef(false);
  const [isWaiting, setWaiting] = useState(false);
  const call = useRef(new AbortController());
  useEffect(() => () => call.current.abort(), []);
  const assets = [...new Set([...wallets.map((wallet) => wallet.asset), ...ASSETS])];

  const submit = async (event) => {
    event.preventDefault();
    if (isMaking.current) return;
    const { asset, walletName } = event.currentTarget.elements;
    const body = { asset: asset.value.trim().toUpperCase() };
    if (walletName.value.trim()) body.name = walletName.value.trim();
    isMaking.current = true;
    setWaiting(true);
    setError(null);
    try {
      onMade(await api.post("/v1/wallets", body, { shape: WALLET, signal: call.current.signal }));
    } catch (failure) {
      if (failure.kind !== "stopped") setError(whyNot(failure));
      isMaking.current = false;
      setWaiting(false);
    }
  };

  return html`
    <${Dialog} title="New wallet" onClose=${onClose}>
      <form class="form" onSubmit=${submit}>
        <div class="field">
          <label for="new-asset">Asset</label>
          <input id="new-asset" name="asset" list="new-assets" required maxlength="12" value=${wallets[0]?.asset ?? ASSETS[0]}
            autocomplete="off" spellcheck=${false} />
          <datalist id="new-assets">${assets.map((code) => html`<option key=${code} value=${code} />`)}</datalist>
        </div>
        <div class="field">
          <label for="new-name">Name<span class="optional"> optional</span></label>
          <input id="new-name" name="walletName" maxlength="255" autocomplete="off" />
        </div>
        <p class="field-error" role="alert">${error}</p>
        <div class="dialog-buttons">
          <button class="button primary" type="submit" aria-disabled=${isWaiting}>
            ${isWaiting ? "Making…" : "Make wallet"}
          </button>
          <button class="button" type="button" onClick=${onClose}>Cancel</button>
        </div>
      </form>
    </>
  `;
}

/** An empty wallet too many does no harm, so an unclear answer is left to the person. */
function whyNot(failure) {
  if (!failure.mayPass) return failure.errors?.length ? failure.message : sentenceOf(failure);
  return `${sentenceOf(failure)} It may have been made all the same: look at the list before you try again.`;
}
