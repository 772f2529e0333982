/** Search panel: finds a transfer by its id. */
import { Panel } from "../../shared/page/panel.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";
import { readTransferId, setTransferInAddress, useTransferInAddress } from "../transfer_address.js";
import { TransferDetails } from "./transfer_details.js";

/** @param {{api: import("../../shared/api/client.js").Api, isDatabaseUp: boolean}} props */
export function SearchPanel({ api, isDatabaseUp }) {
  return html`
    <${Panel} name="search" title="Find a transfer"><${Search} api=${api} isDatabaseUp=${isDatabaseUp} /></>
  `;
}

function Search({ api, isDatabaseUp }) {
  const id = useTransferInAddress();
  const input = useRef(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (id === null) return;
    input.current.value = id;
    setError(null);
  }, [id]);

  const submit = (event) => {
    event.preventDefault();
    const wanted = readTransferId(input.current.value);
    if (wanted) setTransferInAddress(wanted);
    else input.current.focus();
    setError(wanted ? null : "Paste a whole id, such as 01a212e5-f20a-76f8-b78e-2234350f01f8.");
  };
  const close = () => {
    setTransferInAddress(null);
    input.current.value = "";
    input.current.focus();
  };

  return html`
    <form class="search" role="search" onSubmit=${submit} noValidate>
      <div class="field">
        <label for="transfer-id">Transfer id</label>
        <input id="transfer-id" ref=${input} class="mono-input" autocomplete="off" spellcheck=${false}
          autocapitalize="off" maxlength="64" placeholder="Paste an id" aria-describedby="transfer-id-error"
          aria-invalid=${error ? "true" : undefined} />
      </div>
      <button class="button" type="submit">Find</button>
      <p class="field-error" id="transfer-id-error" role="alert">${error}</p>
    </form>
    ${id && html`<${TransferDetails} key=${id} api=${api} id=${id} isDatabaseUp=${isDatabaseUp} onClose=${close} />`}
  `;
}
