/** The transfer that has been under way longest: the first to look at when something is stuck. */
import { useNow } from "../shared/clock.js";
import { duration, shortId } from "../shared/format.js";
import { Copy } from "../shared/parts.js";
import { html } from "../shared/view.js";
import { passed_s } from "./ages.js";
import { Mark } from "./mark.js";
import { PartPanel } from "./part_panel.js";
import { linkTo } from "./route.js";

const SLOW_S = 10;
const STUCK_S = 60;

/** @param {{polled: import("../shared/polling.js").Polled}} props */
export function OldestPanel({ polled }) {
  return html`
    <${PartPanel} part="transfers" name="oldest" title="Oldest unfinished" polled=${polled}>
      ${(transfers, { parts }) => html`<${Oldest} oldest=${transfers.oldest_unfinished} at=${parts.transfers.at} />`}
    </>
  `;
}

function Oldest({ oldest, at }) {
  const now = useNow();
  if (!oldest) {
    return html`<p class="oldest-none"><${Mark} tone="good">None</>Every transfer has ended.</p>`;
  }
  const age_s = oldest.age_s + passed_s(at, now);
  const [tone, word] = judge(age_s);
  return html`
    <div class="oldest">
      <p class="figure">${duration(age_s)}</p>
      <p><${Mark} tone=${tone}>${word}</></p>
      <p class="oldest-id">
        <a href=${linkTo(oldest.id)}>Timeline of <code>${shortId(oldest.id)}</code></a>
        <${Copy} text=${oldest.id} what="id of the oldest transfer" />
      </p>
      <p class="muted small-text">It is ${oldest.state}.</p>
    </div>
  `;
}

function judge(age_s) {
  if (age_s > STUCK_S) return ["bad", "Standing still"];
  return age_s > SLOW_S ? ["warn", "Slow"] : ["good", "Moving"];
}
