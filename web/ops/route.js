/** Which transfer is looked at: it stands in the address, so that it can be linked and sent. */
import { html, useEffect, useState } from "../shared/view.js";

const PREFIX = "#transfer=";
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A transfer's id out of what was pasted, or null. @param {string} pasted */
export function readId(pasted) {
  const id = pasted.trim().toLowerCase();
  return ID.test(id) ? id : null;
}

/** @param {string} id */
export function linkTo(id) {
  return PREFIX + id;
}

/** @param {{id: string, children?: any}} props */
export function TransferLink({ id, children }) {
  return html`<a href=${linkTo(id)} title=${id}>${children ?? html`<code>${id.slice(0, 8)}</code>`}</a>`;
}

function current() {
  const { hash } = window.location;
  return hash.startsWith(PREFIX) ? readId(hash.slice(PREFIX.length)) : null;
}

/** @returns {string | null} the id of the transfer in the address */
export function useRoute() {
  const [id, setId] = useState(current);
  useEffect(() => {
    const changed = () => setId(current());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return id;
}

/** @param {string | null} id */
export function go(id) {
  if (id === null) window.history.pushState(null, "", window.location.pathname);
  else window.location.hash = linkTo(id);
  if (id === null) window.dispatchEvent(new HashChangeEvent("hashchange"));
}
