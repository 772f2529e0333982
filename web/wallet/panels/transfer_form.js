/** Form for a transfer. Checks what the page can check; the API has the final word. */
import { groupAmount, readAmount, scaleOf, toMinor } from "../../shared/format/amounts.js";
import { walletTitle } from "../../shared/format/labels.js";
import { ChevronIcon } from "../../shared/icons.js";
import { isUuid } from "../../shared/ids.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";

const OTHER = "other";

/** @typedef {{source: string, destination: string, pasted: string, amount: string,
 *   reference: string}} Draft */

/** @param {string} source @returns {Draft} */
export function emptyDraft(source) {
  return { source, destination: "", pasted: "", amount: "", reference: "" };
}

/**
 * Check a draft.
 * @param {Draft} draft @param {object[]} wallets
 * @returns {{errors: Record<string, string>, body: object | null}}
 */
function checkDraft(draft, wallets) {
  const errors = {};
  const source = wallets.find((wallet) => wallet.id === draft.source);
  if (!source) return { errors: { source: "Choose the wallet to send from." }, body: null };
  const destination = destinationOf(draft, wallets, source);
  const field = isPasting(draft, wallets, source) ? "pasted" : "destination";
  if (!destination) errors[field] = "Choose the wallet to send to.";
  else if (!isUuid(destination)) errors[field] = "This is not a wallet id. Paste a whole id, such as 01a212e5-f20a-76f8-b78e-2234350f01f8.";
  else if (destination === source.id) errors[field] = "This is the wallet you send from.";
  const read = readAmount(draft.amount, scaleOf(source.balance));
  if ("error" in read) errors.amount = read.error;
  if (draft.reference.length > 255) errors.reference = "Use at most 255 characters.";
  if (Object.keys(errors).length) return { errors, body: null };
  const body = { source: source.id, destination, amount: read.amount, asset: source.asset };
  if (draft.reference) body.reference = draft.reference;
  return { errors, body };
}

function candidates(wallets, source) {
  return wallets.filter((wallet) => wallet.asset === source?.asset && wallet.id !== source.id);
}

function isPasting(draft, wallets, source) {
  return draft.destination === OTHER || candidates(wallets, source).length === 0;
}

function destinationOf(draft, wallets, source) {
  if (isPasting(draft, wallets, source)) return draft.pasted.trim().toLowerCase();
  const isOffered = candidates(wallets, source).some((wallet) => wallet.id === draft.destination);
  return isOffered ? draft.destination : "";
}

/**
 * @param {object} props
 * @param {Draft} props.draft @param {(draft: Draft) => void} props.onDraft
 * @param {object[]} props.wallets @param {Record<string, string>} props.refused errors by field
 * @param {boolean} props.takesFocus whether the form replaces a transfer that was shown
 * @param {(body: object) => void} props.onSend
 */
export function TransferForm({ draft, onDraft, wallets, refused, takesFocus, onSend }) {
  const form = useRef(null);
  const [errors, setErrors] = useState(refused);
  const focus = (name) => form.current.elements.namedItem(name)?.focus();
  // The pressed button is gone, so the focus moves into the form.
  useEffect(() => {
    if (takesFocus) focus(Object.keys(refused)[0] ?? "amount");
  }, []);
  const source = wallets.find((wallet) => wallet.id === draft.source);
  const change = (name) => (event) => {
    onDraft({ ...draft, [name]: event.currentTarget.value });
    setErrors((known) => ({ ...known, [name]: undefined }));
  };
  const submit = (event) => {
    event.preventDefault();
    const checked = checkDraft(draft, wallets);
    setErrors(checked.errors);
    if (checked.body) onSend(checked.body);
    else focus(Object.keys(checked.errors)[0]);
  };
  const field = (name) => ({ name, value: draft[name], onInput: change(name), error: errors[name] });
  return html`
    <form class="form" ref=${form} onSubmit=${submit} noValidate>
      <${SourceField} ...${field("source")} wallets=${wallets} />
      <${DestinationField} ...${field("destination")} wallets=${candidates(wallets, source)} />
      ${isPasting(draft, wallets, source) &&
      html`
        <${Field} label="Wallet id" ...${field("pasted")} placeholder="Paste a wallet id" spellcheck=${false}
          autocomplete="off" className="mono-input" />
      `}
      <${AmountField} ...${field("amount")} source=${source} />
      <${Field} label="Reference" ...${field("reference")} isOptional maxlength="255" autocomplete="off" />
      <button class="button primary wide" type="submit">Send</button>
    </form>
  `;
}

function Field({ label, name, error, hint, isOptional, suffix, className = "", ...input }) {
  const id = `send-${name}`;
  return html`
    <div class="field">
      <label for=${id}>${label}${isOptional && html`<span class="optional"> optional</span>`}</label>
      <div class="input-wrap">
        <input id=${id} name=${name} class=${className} aria-describedby="${id}-error ${id}-hint"
          aria-invalid=${error ? "true" : undefined} ...${input} />
        ${suffix && html`<span class="suffix" aria-hidden="true">${suffix}</span>`}
      </div>
      <p class="field-error" id="${id}-error" role="alert">${error}</p>
      <p class="hint" id="${id}-hint">${hint}</p>
    </div>
  `;
}

function SelectField({ label, name, value, error, onInput, children }) {
  const id = `send-${name}`;
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      <div class="input-wrap">
        <select id=${id} name=${name} value=${value} onInput=${onInput} aria-describedby="${id}-error"
          aria-invalid=${error ? "true" : undefined}>${children}</select>
        <span class="suffix"><${ChevronIcon} /></span>
      </div>
      <p class="field-error" id="${id}-error" role="alert">${error}</p>
    </div>
  `;
}

function SourceField({ wallets, ...field }) {
  return html`
    <${SelectField} label="From" ...${field}>
      ${!wallets.some((wallet) => wallet.id === field.value) && html`<option value="">Choose a wallet</option>`}
      ${wallets.map(
        (wallet) => html`
          <option key=${wallet.id} value=${wallet.id}>
            ${walletTitle(wallet)} · ${groupAmount(wallet.available)} ${wallet.asset}
          </option>
        `,
      )}
    </>
  `;
}

function DestinationField({ wallets, value, ...field }) {
  if (!wallets.length) return null;
  const isOffered = value === OTHER || wallets.some((wallet) => wallet.id === value);
  return html`
    <${SelectField} label="To" value=${isOffered ? value : ""} ...${field}>
      <option value="">Choose a wallet</option>
      ${wallets.map((wallet) => html`<option key=${wallet.id} value=${wallet.id}>${walletTitle(wallet)}</option>`)}
      <option value=${OTHER}>Another wallet, by its id…</option>
    </>
  `;
}

function AmountField({ source, ...field }) {
  return html`
    <${Field} label="Amount" ...${field} hint=${source && amountHint(field.value, source)}
      suffix=${source?.asset} className="amount-input" inputmode="decimal" autocomplete="off" placeholder="0" />
  `;
}

/** Only a warning, because more money can arrive before the transfer is processed. */
function amountHint(typed, source) {
  const scale = scaleOf(source.balance);
  const read = readAmount(typed, scale);
  const available = `${groupAmount(source.available)} ${source.asset}`;
  const isMore = "amount" in read && toMinor(read.amount, scale) > toMinor(source.available, scale);
  if (isMore && source.kind !== "external") return `More than the ${available} available at the moment.`;
  return `${available} available`;
}
