/** The question before the same money is sent a second time. */
import { Dialog } from "../shared/dialog.js";
import { html } from "../shared/view.js";

/**
 * @param {{phase: "stopped" | "sending", mayResume: boolean, onResume: () => void, onSecond: () => void,
 *   onClose: () => void}} props
 */
export function TwinDialog({ phase, mayResume, onResume, onSecond, onClose }) {
  return html`
    <${Dialog} title="Is this the same transfer?" onClose=${onClose}>
      <p>
        ${phase === "sending"
          ? "One with the same wallets and the same amount is still being sent."
          : "You stopped trying to send one with the same wallets and the same amount, and it may have gone through."}
        ${" "}Sending it anew would make a second transfer.
      </p>
      <div class="dialog-buttons">
        ${(mayResume || phase === "sending") &&
        html`<button class="button primary" onClick=${onResume}>Go on with the first</button>`}
        <button class="button" onClick=${onSecond}>Send a second one</button>
        <button class="button" onClick=${onClose}>Cancel</button>
      </div>
    </>
  `;
}
