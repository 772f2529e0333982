/**
 * The view library: Preact, its hooks and htm. No other module names the vendored files, so a
 * new version changes one place.
 */

import { Component, Fragment, createContext, h, render } from "../vendor/preact-10.29.8.js";
import htm from "../vendor/htm-3.1.1.js";

export {
  useCallback,
  useContext,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "../vendor/preact-hooks-10.29.8.js";
export { Component, Fragment, createContext, render };

/** Template tag: html`<p>${text}</p>` returns a virtual node. Text is always escaped. */
export const html = htm.bind(h);
