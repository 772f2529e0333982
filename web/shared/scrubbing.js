/**
 * What must not leave the browser in an error report: keys, amounts, and anything long and
 * random. The server scrubs again; this is the first of two guards.
 */
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;
const BEARER = /bearer\s+\S+/gi;
const KEY = /\btp_[\w-]*/g;
const RANDOM = /[\w-]{24,}/g;
const NUMBER = /\d[\d.,'\u00a0\u2009\u202f]*/g;
const FRAME = /^\s*at .*$|^.*@.*:\d+:\d+$/;
const ASSETS = /https?:\/\/[^/\s)]+\/assets\/\w+\//g;

const MAX_MESSAGE_LENGTH = 500;
const MAX_STACK_LENGTH = 4000;

/** @param {unknown} message @returns {string} */
export function scrubMessage(message) {
  return String(message)
    .slice(0, MAX_MESSAGE_LENGTH * 4)
    .replace(BEARER, "[key]")
    .replace(KEY, "[key]")
    .replace(UUID, "[id]")
    .replace(RANDOM, "[long]")
    .replace(NUMBER, "#")
    .slice(0, MAX_MESSAGE_LENGTH);
}

/**
 * Keep the places alone: the first lines of a stack repeat the message.
 * @param {unknown} stack @returns {string | null}
 */
export function scrubStack(stack) {
  if (typeof stack !== "string") return null;
  const frames = stack.split("\n").filter((line) => FRAME.test(line));
  const places = frames.slice(0, 30).join("\n").replace(ASSETS, "/").replace(/\?[^:)\s]*/g, "");
  return places.replace(BEARER, "[key]").replace(KEY, "[key]").slice(0, MAX_STACK_LENGTH) || null;
}
