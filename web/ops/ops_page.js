/** The ops page: how the engine is doing, for whoever has an admin's key. */
import { Panel } from "../shared/panel.js";
import { usePolled } from "../shared/polling.js";
import { object, text } from "../shared/shapes.js";
import { html } from "../shared/view.js";

const OVERVIEW = object({ at: text, status: text });

/** @param {{api: import("../shared/api.js").Api}} props */
export function OpsPage({ api }) {
  const overview = usePolled(
    (signal) => api.get("/v1/ops/overview", { shape: OVERVIEW, signal }),
    { every_s: 2, on: [api] },
  );
  return html`
    <div class="grid">
      <${Panel} name="status" title="Status" polled=${overview}>
        ${(data) => html`<p>${data.status}</p>`}
      </>
    </div>
  `;
}
