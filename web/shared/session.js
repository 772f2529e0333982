/**
 * The API key of this tab. Guarantees that it is kept in sessionStorage alone (it ends with the
 * tab), and that forgetting it takes along everything else that the session kept.
 */
const PREFIX = "truepenny.";
const KEY = "key";

/** @param {string} name @returns {string | null} */
export function recall(name) {
  try {
    return sessionStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is switched off: then nothing outlives a reload
  }
}

/** @param {string} name @param {string} value @returns {boolean} whether it is kept */
export function keep(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, value);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} name */
export function drop(name) {
  try {
    sessionStorage.removeItem(PREFIX + name);
  } catch {
    // nothing was kept
  }
}

export const recallKey = () => recall(KEY);
export const keepKey = (key) => keep(KEY, key);
export const dropKey = () => drop(KEY);

/** Forget the key, and whatever was kept under it. */
export function forgetAll() {
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
    }
  } catch {
    // nothing was kept
  }
}
