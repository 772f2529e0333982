/** How old things are that were so old when they were read. */
export const OLD_AFTER_MS = 10_000;

/**
 * What has passed since they were read, on this clock: the server's may differ. It stops where
 * the panel begins to say how old it is: what has happened since then nobody knows.
 * @param {number} at when they were read @param {number} now milliseconds
 */
export function passed_s(at, now) {
  return Math.min(Math.max(0, now - at), OLD_AFTER_MS) / 1000;
}
