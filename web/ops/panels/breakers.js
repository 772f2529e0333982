/** Breakers panel: the circuit breakers of the API process that answered. */
import { StatusMark } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel } from "../overview_panel.js";

const STATES = {
  closed: { tone: "good", word: "Closed" },
  "half-open": { tone: "warn", word: "Half-open" },
  open: { tone: "bad", word: "Open" },
};

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function BreakersPanel({ polled }) {
  return html`
    <${OverviewPanel} part="breakers" name="breakers" title="Breakers" polled=${polled}>
      ${(breakers) => html`
        <dl class="list">
          ${breakers.map(({ name, state, detail }) => {
            const { tone, word } = STATES[state] ?? { tone: "warn", word: state };
            return html`
              <div key=${name} data-breaker=${name}>
                <dt>${name}</dt>
                <dd><${StatusMark} tone=${tone}>${word}</><span class="row-says">${detail}</span></dd>
              </div>
            `;
          })}
        </dl>
      `}
    </>
  `;
}
