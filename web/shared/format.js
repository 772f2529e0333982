/**
 * How things are written. Guarantees that an amount is only ever cut and joined as text: no
 * digit of it goes through a number.
 */
const THIN_SPACE = "\u2009"; // not U+202F, which Inter draws as next to nothing
const FEWEST_DECIMALS = 2;
const MINUS = "\u2212";

/**
 * Group an amount's digits by three, and leave out zeros behind the second decimal:
 * "-1234567.50" becomes "−1 234 567.50", "0.100000" becomes "0.10".
 * @param {string} amount @param {{sign?: boolean}} [options] sign: also write a plus
 */
export function groupAmount(amount, { sign = false } = {}) {
  const isNegative = amount.startsWith("-");
  const [whole, fraction] = amount.replace("-", "").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
  const mark = isNegative ? MINUS : sign ? "+" : "";
  return mark + grouped + (fraction === undefined ? "" : `.${shortened(fraction)}`);
}

function shortened(fraction) {
  return fraction.replace(/0+$/, "").padEnd(Math.min(FEWEST_DECIMALS, fraction.length), "0");
}

/** Whether an amount is zero, whatever its scale. @param {string} amount */
export function isZero(amount) {
  return /^-?[0.]+$/.test(amount);
}

/** "3 s", "4 min", "2 h", "5 d": how long something takes or is ago. @param {number} seconds */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s === 0) return "0 s";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10 && !Number.isInteger(s)) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** "just now", "12 s ago", "3 min ago". @param {number} at @param {number} now milliseconds */
export function ago(at, now) {
  const seconds = Math.floor((now - at) / 1000);
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}

const absolute = new Intl.DateTimeFormat("en-GB", {
  dateStyle: "medium",
  timeStyle: "medium",
});
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** The full local date and time. @param {number} at */
export function absoluteTime(at) {
  return absolute.format(at);
}

/** A short date for tables: "25 Nov, 12:44". @param {number} at */
export function shortTime(at) {
  return `${day.format(at)}, ${minute.format(at)}`;
}

/** The beginning of an id, enough to recognise it. @param {string} id */
export function shortId(id) {
  return id.slice(0, 8);
}
