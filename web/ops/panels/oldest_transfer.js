/** Oldest transfer panel: the one in progress the longest. Look here first when transfers stop. */
import { duration, useNow } from "../../shared/format/times.js";
import { shortId } from "../../shared/ids.js";
import { CopyButton, StatusMark } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel, elapsed_s } from "../overview_panel.js";
import { transferHref } from "../transfer_address.js";

const SLOW_S = 10;
const STUCK_S = 60;

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function OldestTransferPanel({ polled }) {
  return html`
    <${OverviewPanel} part="transfers" name="oldest" title="Oldest unfinished" polled=${polled}>
      ${(transfers, { parts }) => html`<${Oldest} oldest=${transfers.oldest_unfinished} at=${parts.transfers.at} />`}
    </>
  `;
}

function Oldest({ oldest, at }) {
  const now = useNow();
  if (!oldest) {
    return html`<p class="oldest-none"><${StatusMark} tone="good">None</>Every transfer has ended.</p>`;
  }
  const age_s = oldest.age_s + elapsed_s(at, now);
  const [tone, word] = ageStatus(age_s);
  return html`
    <div class="oldest">
      <p class="figure">${duration(age_s)}</p>
      <p><${StatusMark} tone=${tone}>${word}</></p>
      <p class="oldest-id">
        <a href=${transferHref(oldest.id)}>Timeline of <code>${shortId(oldest.id)}</code></a>
        <${CopyButton} text=${oldest.id} what="id of the oldest transfer" />
      </p>
      <p class="muted small-text">State: ${oldest.state}.</p>
    </div>
  `;
}

function ageStatus(age_s) {
  if (age_s > STUCK_S) return ["bad", "Stuck"];
  return age_s > SLOW_S ? ["warn", "Slow"] : ["good", "In progress"];
}
