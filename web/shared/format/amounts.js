/**
 * Amounts and counts: reads what people type, and formats what the API sends. Guarantees that
 * no digit of an amount goes through a floating-point number: amounts are text, and are
 * compared as whole minor units of any size.
 */

const SPACES = /[\s\u00a0\u2009\u202f]/g;
const DECIMAL = /^(\d*)(?:\.(\d*))?$/;
const MAX_WHOLE_DIGITS = 36;
const THIN_SPACE = "\u2009"; // not U+202F: the Inter font draws it almost without width
const MIN_DECIMALS = 2;
const MINUS = "\u2212";

/** The number of decimals of an asset, taken from any amount of the API. @param {string} amount */
export function scaleOf(amount) {
  return amount.split(".")[1]?.length ?? 0;
}

/** @param {string} amount as the API writes it @param {number} scale @returns {bigint} */
export function toMinor(amount, scale) {
  const [whole, fraction = ""] = amount.replace("-", "").split(".");
  const minor = BigInt(whole + fraction.padEnd(scale, "0"));
  return amount.startsWith("-") ? -minor : minor;
}

/**
 * Read an amount that a person typed.
 * @param {string} typed @param {number} scale the number of decimals of the asset
 * @returns {{amount: string} | {error: string}} the amount as the API takes it, or the error
 */
export function readAmount(typed, scale) {
  const bare = typed.replace(SPACES, "");
  if (!bare) return { error: "Enter an amount." };
  if (bare.includes(",")) return { error: "Write decimals with a point, such as 12.50." };
  const match = DECIMAL.exec(bare);
  if (!match || bare === ".") return { error: "Enter a plain number, such as 12.50." };
  const whole = (match[1] || "0").replace(/^0+(?=\d)/, "");
  const fraction = match[2] ?? "";
  if (fraction.length > scale) return { error: decimalsError(scale) };
  if (whole.length > MAX_WHOLE_DIGITS) return { error: "This amount is too large." };
  // One spelling for each amount, so that equal amounts compare as equal text.
  const decimals = fraction.replace(/0+$/, "").padEnd(Math.min(MIN_DECIMALS, scale), "0");
  const amount = decimals ? `${whole}.${decimals}` : whole;
  return toMinor(amount, scale) > 0n ? { amount } : { error: "Enter more than zero." };
}

function decimalsError(scale) {
  if (scale === 0) return "This asset has no decimals.";
  return `Use at most ${scale} ${scale === 1 ? "decimal" : "decimals"} for this asset.`;
}

/** Whether an amount is zero, at any scale. @param {string} amount */
export function isZero(amount) {
  return /^-?[0.]+$/.test(amount);
}

/**
 * Group an amount's digits by three, and leave out zeros after the second decimal:
 * "-1234567.50" becomes "−1 234 567.50", "0.100000" becomes "0.10".
 * @param {string} amount @param {{sign?: boolean}} [options] sign: also write a plus
 */
export function groupAmount(amount, { sign = false } = {}) {
  const isNegative = amount.startsWith("-");
  const [whole, fraction] = amount.replace("-", "").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
  const mark = isNegative ? MINUS : sign ? "+" : "";
  return mark + grouped + (fraction === undefined ? "" : `.${withoutZeros(fraction)}`);
}

function withoutZeros(fraction) {
  return fraction.replace(/0+$/, "").padEnd(Math.min(MIN_DECIMALS, fraction.length), "0");
}

/** A count with grouped digits; a dash while it is unknown. @param {number | null} count */
export function formatCount(count) {
  return count === null ? "–" : groupAmount(String(count));
}
