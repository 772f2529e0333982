/** The time, ticking: one timer for all that shows an age. */
import { useEffect, useState } from "./view.js";

const TICK_MS = 1000;
const listeners = new Set();
let timer = 0;

function tick() {
  const now = Date.now();
  for (const listener of listeners) listener(now);
}

/** The current time in milliseconds; draws anew every second. @returns {number} */
export function useNow() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    listeners.add(setNow);
    if (!timer) timer = setInterval(tick, TICK_MS);
    return () => {
      listeners.delete(setNow);
      if (!listeners.size) {
        clearInterval(timer);
        timer = 0;
      }
    };
  }, []);
  return now;
}
