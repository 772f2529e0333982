/**
 * The API key of this tab. Guarantees that it is kept in sessionStorage alone (it ends with the
 * tab), and that forgetting it takes along everything else that the session kept.
 */
import { makeId, toHex } from "./random_ids.js";

/** What the storage would not take, so that it lasts at least until the page is left. */
const unkept = new Map();

const PREFIX = "truepenny.";
const KEY = "key";
const OWNER = "owner";
const SALT = "salt";
const UNSETTLED = "unsettled";

/** @param {string} name @returns {string | null} */
export function recall(name) {
  // What is stored under the name may be older: of another key's owner, at worst.
  if (unkept.has(name)) return unkept.get(name);
  try {
    return sessionStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is switched off: then nothing outlives a reload
  }
}

/** All that is kept, as one text to compare. @returns {string} */
export function recallAll() {
  try {
    return JSON.stringify(Object.entries(sessionStorage).filter(([name]) => name.startsWith(PREFIX)));
  } catch {
    return ""; // there is no other page that could change it
  }
}

/** @param {string} name @param {string} value @returns {boolean} whether it is kept */
export function keep(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, value);
    unkept.delete(name);
    return true;
  } catch {
    unkept.set(name, value);
    return false;
  }
}

/** @param {string} name */
export function drop(name) {
  unkept.delete(name);
  try {
    sessionStorage.removeItem(PREFIX + name);
  } catch {
    // nothing was kept
  }
}

export const recallKey = () => recall(KEY);
export const dropKey = () => drop(KEY);

/** Note whether something is being sent of which the end is not known. @param {boolean} isIt */
export function noteUnsettled(isIt) {
  if (isIt) keep(UNSETTLED, "yes");
  else drop(UNSETTLED);
}

/** Whether forgetting the key would lose track of something, on whatever page it was begun. */
export const isUnsettled = () => recall(UNSETTLED) !== null;

/** Whose key it is, as a name that says nothing about the key. @returns {string} */
export const recallOwner = () => recall(OWNER) ?? "";

/** Keep a key that was good. @param {string} key */
export async function keepKey(key) {
  const salt = recall(SALT) ?? makeId();
  keep(SALT, salt);
  keep(OWNER, await digest(salt + key));
  keep(KEY, key);
}

/**
 * The same for the same key within this tab, so that a transfer which was being sent when its
 * key was refused goes on with that key only.
 */
async function digest(value) {
  // Not on plain HTTP from another machine: there every entering counts as another owner.
  if (!crypto.subtle) return makeId();
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(value));
  return toHex(new Uint8Array(bytes).slice(0, 8));
}

/** Forget the key, and whatever was kept under it. */
export function forgetAll() {
  unkept.clear();
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
    }
  } catch {
    // nothing was kept
  }
}
