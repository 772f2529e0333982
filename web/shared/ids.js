/** Ids: makes random ones, recognises UUIDs and shortens them for display. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** @param {string} text in lower case @returns {boolean} */
export function isUuid(text) {
  return UUID.test(text);
}

/** The first characters of an id, enough to recognise it. @param {string} id */
export function shortId(id) {
  return id.slice(0, 8);
}

/**
 * A version 4 UUID. Browsers offer `crypto.randomUUID` on secure origins only, and this page
 * also runs over plain HTTP.
 * @returns {string}
 */
export function makeId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** @param {Uint8Array} bytes @returns {string} */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
