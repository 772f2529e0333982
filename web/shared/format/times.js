/** Times: durations, ages and dates as text, and a clock that ticks for everything with an age. */
import { useEffect, useState } from "../view.js";

const TICK_MS = 1000;

/** "3 s", "4 min", "2 h", "5 d". @param {number} seconds */
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

/** Components to redraw at the next tick. They share one timer. */
const listeners = new Set();
let timer = 0;

function tick() {
  const now = Date.now();
  for (const listener of listeners) listener(now);
}

/** The current time in milliseconds. Redraws the component every second. @returns {number} */
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
