/** Dialog that creates a wallet. */
import { ASSETS, WALLET } from "../../shared/api/answers.js";
import { errorMessage } from "../../shared/api/errors.js";
import { Dialog } from "../../shared/parts.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";

/**
 * @param {object} props
 * @param {import("../../shared/api/client.js").Api} props.api
 * @param {object[]} props.wallets
 * @param {(wallet: object) => void} props.onCreated @param {() => void} props.onClose
 */
export function NewWalletDialog({ api, wallets, onCreated, onClose }) {
  const [error, setError] = useState(null);
  const isCreating = useRef(false);
  const [isWaiting, setWaiting] = useState(false);
  const call = useRef(new AbortController());
  const [listed, setListed] = useState([]);
  useEffect(() => {
    const { signal } = call.current;
    // A suggestion only: without the list any code can be typed.
    api.get("/v1/assets?limit=200", { shape: ASSETS, signal }).then(
      (page) => setListed(page.data.map((asset) => asset.code)),
      () => setListed([]),
    );
    return () => call.current.abort();
  }, []);
  const assets = [...new Set([...wallets.map((wallet) => wallet.asset), ...listed])];

  const submit = async (event) => {
    event.preventDefault();
    if (isCreating.current) return;
    const { asset, walletName } = event.currentTarget.elements;
    const body = { asset: asset.value.trim().toUpperCase() };
    if (walletName.value.trim()) body.name = walletName.value.trim();
    isCreating.current = true;
    setWaiting(true);
    setError(null);
    try {
      onCreated(await api.post("/v1/wallets", body, { shape: WALLET, signal: call.current.signal }));
    } catch (failure) {
      if (failure.kind !== "cancelled") setError(creationError(failure));
      isCreating.current = false;
      setWaiting(false);
    }
  };

  return html`
    <${Dialog} title="New wallet" onClose=${onClose}>
      <form class="form" onSubmit=${submit}>
        <div class="field">
          <label for="new-asset">Asset</label>
          <input id="new-asset" name="asset" list="new-assets" required maxlength="12" value=${wallets[0]?.asset ?? "USD"}
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
            ${isWaiting ? "Creating…" : "Create wallet"}
          </button>
          <button class="button" type="button" onClick=${onClose}>Cancel</button>
        </div>
      </form>
    </>
  `;
}

/** One empty wallet too many does no harm, so the person decides after a lost answer. */
function creationError(failure) {
  if (!failure.isTemporary) return failure.errors?.length ? failure.message : errorMessage(failure);
  return `${errorMessage(failure)} The wallet may have been created: check the list before you try again.`;
}
