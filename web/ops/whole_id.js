/** An id in full: many made within a minute begin alike. */
import { Copy } from "../shared/parts.js";
import { html } from "../shared/view.js";

/** @param {{id: string, what: string}} props */
export function WholeId({ id, what }) {
  return html`<span class="whole-id"><code>${id}</code><${Copy} text=${id} what=${what} /></span>`;
}
