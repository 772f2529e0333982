/** Prices panel: each price with its source and its age. */
import { PRICES } from "../../shared/api/answers.js";
import { usePolled } from "../../shared/api/polling.js";
import { groupAmount } from "../../shared/format/amounts.js";
import { priceSource } from "../../shared/format/labels.js";
import { absoluteTime, duration, useNow } from "../../shared/format/times.js";
import { Panel } from "../../shared/page/panel.js";
import { Badge, Empty } from "../../shared/parts.js";
import { html } from "../../shared/view.js";

/** @param {{api: import("../../shared/api/client.js").Api}} props */
export function PricesPanel({ api }) {
  const polled = usePolled((signal) => api.get("/v1/prices", { shape: PRICES, signal }), {
    every_s: 2,
    on: [api],
  });
  return html`
    <${Panel} name="prices" title="Prices" polled=${polled}>
      ${(page) => html`<${Prices} prices=${page.data} at=${polled.at} />`}
    </>
  `;
}

function Prices({ prices, at }) {
  if (!prices.length) return html`<${Empty} title="No prices are configured" />`;
  return html`
    <table class="table prices">
      <caption class="unseen">Prices in dollars</caption>
      <thead class="unseen">
        <tr>
          <th scope="col">Symbol</th>
          <th scope="col">Source</th>
          <th scope="col">Age</th>
          <th scope="col" class="number">Price</th>
        </tr>
      </thead>
      <tbody>
        ${prices.map((price) => html`<${Price} key=${price.symbol} price=${price} at=${at} />`)}
      </tbody>
    </table>
  `;
}

/** "BTCUSDT" becomes "BTC / USDT". Symbols without a dollar currency stay as they are. */
function pairOf(symbol) {
  return symbol.replace(/(?<=.)(USDT|USDC|USD)$/, " / $1");
}

function Price({ price, at }) {
  const now = useNow();
  const { label, tone, meaning } = priceSource(price.source);
  // The age in the answer, plus the time since on this clock. The two clocks can differ.
  const age_s = price.age_s === null ? null : Math.floor(price.age_s + Math.max(0, now - at) / 1000);
  const isOld = price.source === "live" && age_s > 10;
  return html`
    <tr>
      <th scope="row">${pairOf(price.symbol)}</th>
      <td>
        <${Badge} tone=${isOld ? "warn" : tone} title=${meaning}>${isOld ? "Outdated" : label}</>
      </td>
      <td class="age" title=${price.as_of && absoluteTime(Date.parse(price.as_of))}>
        ${age_s === null ? "" : duration(age_s)}
      </td>
      <td class="number">${groupAmount(price.price)}</td>
    </tr>
  `;
}
