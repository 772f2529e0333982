/** The id of the shown transfer in the page's address, so that a transfer can be linked. */
import { isUuid, shortId } from "../shared/ids.js";
import { html, useEffect, useState } from "../shared/view.js";

const PREFIX = "#transfer=";

/** The transfer id in a pasted text, or null. @param {string} pasted */
export function readTransferId(pasted) {
  const id = pasted.trim().toLowerCase();
  return isUuid(id) ? id : null;
}

/** @param {string} id */
export function transferHref(id) {
  return PREFIX + id;
}

/** @param {{id: string}} props */
export function TransferLink({ id }) {
  return html`<a href=${transferHref(id)} title=${id}><code>${shortId(id)}</code></a>`;
}

function idInAddress() {
  const { hash } = window.location;
  return hash.startsWith(PREFIX) ? readTransferId(hash.slice(PREFIX.length)) : null;
}

/** @returns {string | null} the id of the transfer in the address */
export function useTransferInAddress() {
  const [id, setId] = useState(idInAddress);
  useEffect(() => {
    const changed = () => setId(idInAddress());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return id;
}

/** @param {string | null} id null: show no transfer */
export function setTransferInAddress(id) {
  if (id === null) window.history.pushState(null, "", window.location.pathname);
  else window.location.hash = transferHref(id);
  // pushState does not send this event.
  if (id === null) window.dispatchEvent(new HashChangeEvent("hashchange"));
}
