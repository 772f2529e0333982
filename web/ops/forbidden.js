/** What stands here when the key is a client's. */
import { Panel } from "../shared/panel.js";
import { Notice } from "../shared/parts.js";
import { html } from "../shared/view.js";

export const NEEDS_ADMIN = "This needs an admin key. The one you entered is a client's.";

export function Forbidden() {
  return html`
    <${Panel} name="forbidden" title="Operations are for admins" className="narrow">
      <${Notice} kind="warning" title="This needs an admin key." role="status">
        The key in this tab is a client's, and sees its own wallets only. Press “Forget key” above
        and enter an admin's, or go to <a href="/">its wallets</a>.
      </>
    </>
  `;
}
