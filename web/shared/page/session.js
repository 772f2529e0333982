/**
 * The session of this tab: the API key and what belongs to it. Guarantees that they are stored
 * in sessionStorage alone, which ends with the tab, and that forgetting the key deletes them all.
 */
import { makeId, toHex } from "../ids.js";

/** Values that sessionStorage refused. They last until the page is left. */
const inMemory = new Map();

const PREFIX = "truepenny.";
const KEY = "key";
const OWNER = "owner";
const SALT = "salt";
const UNSETTLED = "unsettled";

/** @param {string} name @returns {string | null} */
export function getItem(name) {
  // A refused value is newer than a stored one, which may even belong to another key.
  if (inMemory.has(name)) return inMemory.get(name);
  try {
    return sessionStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is switched off, so nothing survives a reload
  }
}

/** @param {string} name @param {string} value @returns {boolean} whether it survives a reload */
export function setItem(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, value);
    inMemory.delete(name);
    return true;
  } catch {
    inMemory.set(name, value);
    return false;
  }
}

/** @param {string} name */
export function removeItem(name) {
  inMemory.delete(name);
  try {
    sessionStorage.removeItem(PREFIX + name);
  } catch {
    // storage is switched off, so there is nothing to remove
  }
}

/** Everything that is stored, as one text to compare. @returns {string} */
export function sessionSnapshot() {
  try {
    return JSON.stringify(Object.entries(sessionStorage).filter(([name]) => name.startsWith(PREFIX)));
  } catch {
    return ""; // storage is switched off, so no other page can have changed it
  }
}

export const getKey = () => getItem(KEY);
export const removeKey = () => removeItem(KEY);

/** Record whether a transfer is being sent whose result is not known. @param {boolean} isSending */
export function setUnsettled(isSending) {
  if (isSending) setItem(UNSETTLED, "yes");
  else removeItem(UNSETTLED);
}

/** Whether forgetting the key would lose track of a transfer that any page of this tab sends. */
export const hasUnsettled = () => getItem(UNSETTLED) !== null;

/** The owner of the key, as a name that reveals nothing about the key. @returns {string} */
export const getKeyOwner = () => getItem(OWNER) ?? "";

/** Store a key that the API has accepted. @param {string} key */
export async function saveKey(key) {
  const salt = getItem(SALT) ?? makeId();
  setItem(SALT, salt);
  setItem(OWNER, await digest(salt + key));
  setItem(KEY, key);
}

/**
 * The same name for the same key within this tab. A transfer that was being sent when its key
 * was refused is continued with that key only.
 */
async function digest(value) {
  // Missing on plain HTTP from another machine: there, each time a key is entered is a new owner.
  if (!crypto.subtle) return makeId();
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(value));
  return toHex(new Uint8Array(bytes).slice(0, 8));
}

/** Delete the key and everything that was stored with it. */
export function clearSession() {
  inMemory.clear();
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
    }
  } catch {
    // storage is switched off, so there is nothing to remove
  }
}
