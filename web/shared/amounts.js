/**
 * Amounts as people type them. Guarantees that no digit goes through a floating-point number:
 * amounts are text, and compared as whole minor units of any size.
 */
const SPACES = /[\s\u00a0\u2009\u202f]/g;
const DECIMAL = /^(\d*)(?:\.(\d*))?$/;

/** How many decimals an asset has, read off any amount the API wrote. @param {string} amount */
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
 * Read what somebody typed.
 * @param {string} typed @param {number} scale how many decimals the asset has
 * @returns {{amount: string} | {error: string}} the amount as the API takes it, or what is wrong
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
  if (whole.length > 36) return { error: "That is too large." };
  // One way to write each amount, so that equal ones are seen to be equal.
  const decimals = fraction.replace(/0+$/, "").padEnd(Math.min(2, scale), "0");
  const amount = decimals ? `${whole}.${decimals}` : whole;
  return toMinor(amount, scale) > 0n ? { amount } : { error: "Enter more than zero." };
}

function decimalsError(scale) {
  if (scale === 0) return "This asset has no decimals.";
  return `At most ${scale} ${scale === 1 ? "decimal" : "decimals"} for this asset.`;
}
