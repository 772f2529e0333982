/** Sparkline: a small chart of a number over the last minutes, as far as this page was open. */
import { html } from "../shared/view.js";

const GAP_MS = 20_000; // a longer time without a sample is drawn as a gap
const MIN_SPAN_MS = 60_000;
const WIDTH = 120;
const HEIGHT = 28;
const MARGIN = 2;

/**
 * @param {object} props
 * @param {import("./overview.js").Sample[]} props.samples oldest first
 * @param {string} props.what "waiting in scans", for screen readers
 */
export function Sparkline({ samples, what, className = "" }) {
  const values = samples.map((sample) => sample.value);
  const summary = values.length
    ? `${what}: between ${Math.min(...values)} and ${Math.max(...values)} in the last minutes`
    : `${what}: no data yet`;
  const lines = linesOf(samples);
  return html`
    <svg class="sparkline ${className}" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none"
      role="img" aria-label=${summary}>
      <line class="sparkline-ground" x1="0" x2=${WIDTH} y1=${HEIGHT - MARGIN} y2=${HEIGHT - MARGIN} />
      ${lines.map((points, index) => html`<path key=${`area${index}`} class="sparkline-area" d=${areaOf(points)} />`)}
      ${lines.map((points, index) => html`<path key=${index} class="sparkline-line" d=${pathOf(points)} />`)}
    </svg>
  `;
}

/** The points of each line without a gap. @returns {[number, number][][]} */
function linesOf(samples) {
  if (!samples.length) return [];
  const end = samples.at(-1).at;
  const span_ms = Math.max(MIN_SPAN_MS, end - samples[0].at);
  const top = Math.max(1, ...samples.map((sample) => sample.value));
  const lines = [];
  samples.forEach(({ at, value }, index) => {
    const isNew = index === 0 || at - samples[index - 1].at > GAP_MS;
    if (isNew) lines.push([]);
    const x = WIDTH * (1 - (end - at) / span_ms);
    const y = HEIGHT - MARGIN - (value / top) * (HEIGHT - 2 * MARGIN);
    lines.at(-1).push([round(x), round(y)]);
  });
  return lines;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function pathOf(points) {
  // A single sample is drawn as a dot.
  const [first] = points;
  const all = points.length === 1 ? [first, [first[0] + 0.5, first[1]]] : points;
  return all.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join("");
}

function areaOf(points) {
  const ground = HEIGHT - MARGIN;
  return `${pathOf(points)}L${points.at(-1)[0]} ${ground}L${points[0][0]} ${ground}Z`;
}
