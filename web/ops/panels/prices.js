/** Prices panel: each price with its source and its age. */
import { groupAmount } from "../../shared/format/amounts.js";
import { priceSource } from "../../shared/format/labels.js";
import { absoluteTime, duration, useNow } from "../../shared/format/times.js";
import { Empty, StatusMark } from "../../shared/parts.js";
import { html } from "../../shared/view.js";
import { OverviewPanel, elapsed_s } from "../overview_panel.js";

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props */
export function PricesPanel({ polled }) {
  return html`
    <${OverviewPanel} part="prices" name="prices" title="Prices" polled=${polled}>
      ${(prices, { parts }) => html`<${Prices} prices=${prices} at=${parts.prices.at} />`}
    </>
  `;
}

function Prices({ prices, at }) {
  if (!prices.length) return html`<${Empty} title="No prices are configured" />`;
  return html`
    <table class="table rows">
      <caption class="unseen">Prices, their source and age</caption>
      <thead>
        <tr>
          <th scope="col">Symbol</th>
          <th scope="col">Source</th>
          <th scope="col" class="number">Price</th>
        </tr>
      </thead>
      <tbody>
        ${prices.map((price) => html`<${Price} key=${price.symbol} price=${price} at=${at} />`)}
      </tbody>
    </table>
  `;
}

function Price({ price, at }) {
  const now = useNow();
  const { label, tone } = priceSource(price.source);
  const age_s = price.age_s === null ? null : Math.floor(price.age_s + elapsed_s(at, now));
  return html`
    <tr data-price=${price.symbol}>
      <th scope="row">${price.symbol}</th>
      <td><${StatusMark} tone=${tone}>${label}</></td>
      <td class="number">${groupAmount(price.price)}
        <span class="row-says" title=${price.as_of && absoluteTime(Date.parse(price.as_of))}>
          ${age_s === null ? "no time" : `${duration(age_s)} old`}
        </span>
      </td>
    </tr>
  `;
}
