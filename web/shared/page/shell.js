/**
 * Shell: the frame of both pages, with the header, the form for the API key and the API client.
 * Guarantees that the content is drawn only with a key that the API has accepted, and that the
 * form comes back when the API refuses the key later.
 */
import { Api } from "../api/client.js";
import { AutoIcon, Logo, MoonIcon, SunIcon } from "../icons.js";
import { Dialog } from "../parts.js";
import { html, render, useEffect, useMemo, useState } from "../view.js";
import { installErrorReports } from "./error_reports.js";
import { KeyForm } from "./key_form.js";
import { PageBoundary, Panel } from "./panel.js";
import {
  clearSession,
  getKey,
  hasUnsettled,
  removeKey,
  saveKey,
  sessionSnapshot,
} from "./session.js";

const PAGES = [
  { page: "wallet", href: "/", label: "Wallets" },
  { page: "ops", href: "/ops", label: "Operations" },
];

/**
 * @param {object} props
 * @param {"wallet" | "ops"} props.page
 * @param {string} props.title the page's heading, for screen readers
 * @param {(api: Api) => Promise<unknown>} props.checkKey rejects when this page cannot use the key
 * @param {any} props.content the component that draws the page; gets `api`
 */
function Shell({ page, title, checkKey, content }) {
  const [key, setKey] = useState(getKey);
  const [refusal, setRefusal] = useState(null);
  const [isAsking, setAsking] = useState(false);
  const [visit, setVisit] = useState(0);
  const api = useMemo(
    () =>
      key &&
      new Api(key, (error) => {
        removeKey();
        setKey(null);
        setRefusal(error);
      }),
    [key, visit],
  );
  const enter = async (entered) => {
    await saveKey(entered);
    setRefusal(null);
    setKey(entered);
  };
  const forget = () => {
    clearSession();
    setAsking(false);
    setRefusal(null);
    setKey(null);
  };
  useSessionChange(() => {
    setKey(getKey());
    setVisit((count) => count + 1);
    setAsking(false);
  });
  return html`
    <a class="skip" href="#content" onClick=${skip}>Skip to content</a>
    <${Header} page=${page} onForget=${api && (() => (hasUnsettled() ? setAsking(true) : forget()))} />
    <main id="content" class="page" tabindex="-1">
      <h1 class="unseen">${title}</h1>
      ${api
        ? html`<${PageBoundary} name="page"><${content} key=${visit} api=${api} /></>`
        : html`
            <${Panel} name="key" title="Enter your API key" className="narrow">
              <${KeyForm} checkKey=${checkKey} refusal=${refusal} onEnter=${enter} />
            </>
          `}
    </main>
    ${isAsking && api && html`<${ForgetDialog} onForget=${forget} onClose=${() => setAsking(false)} />`}
  `;
}

function ForgetDialog({ onForget, onClose }) {
  return html`
    <${Dialog} title="Forget the key now?" onClose=${onClose}>
      <p>
        A transfer is still being sent, and its result is not known. Without the key this page
        cannot retry the transfer or show its result. The transfer may already be recorded.
      </p>
      <div class="dialog-buttons">
        <button class="button primary" onClick=${onClose}>Keep the key</button>
        <button class="button" onClick=${onForget}>Forget it anyway</button>
      </div>
    </>
  `;
}

/**
 * Call back when this page returns from the browser's cache and another page of the tab has
 * changed the session meanwhile. The old page would otherwise overwrite the key and transfers.
 */
function useSessionChange(onChange) {
  useEffect(() => {
    let snapshot = null;
    const leave = () => {
      snapshot = sessionSnapshot();
    };
    const comeBack = (event) => {
      if (event.persisted && sessionSnapshot() !== snapshot) onChange();
    };
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", comeBack);
    return () => {
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("pageshow", comeBack);
    };
  }, []);
}

/** Done by script, because the link would replace the part of the address that the pages use. */
function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Header({ page, onForget }) {
  return html`
    <header class="top">
      <div class="top-inner">
        <a class="brand" href="/" aria-label="Truepenny"><${Logo} /><span>Truepenny</span></a>
        <nav aria-label="Pages">
          ${PAGES.map(
            (item) => html`
              <a key=${item.page} href=${item.href}
                aria-current=${item.page === page ? "page" : undefined}>${item.label}</a>
            `,
          )}
          <a href="/docs">API</a>
        </nav>
        <div class="top-actions">
          <${ThemeToggle} />
          ${onForget &&
          html`<button type="button" class="button small" onClick=${onForget}>Forget key</button>`}
        </div>
      </div>
    </header>
  `;
}

const THEME_ITEM = "truepenny.theme";
const THEMES = [
  { theme: "", label: "System theme", icon: AutoIcon },
  { theme: "light", label: "Light theme", icon: SunIcon },
  { theme: "dark", label: "Dark theme", icon: MoonIcon },
];

function setTheme(theme) {
  const root = document.documentElement;
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  try {
    if (theme) localStorage.setItem(THEME_ITEM, theme);
    else localStorage.removeItem(THEME_ITEM);
  } catch {
    // storage is switched off, so the choice lasts until the page is left
  }
}

/** A button that switches to the next theme. */
function ThemeToggle() {
  const [chosen, setChosen] = useState(document.documentElement.dataset.theme ?? "");
  const index = THEMES.findIndex(({ theme }) => theme === chosen);
  const current = THEMES[index] ?? THEMES[0];
  const next = THEMES[(Math.max(index, 0) + 1) % THEMES.length];
  const change = () => {
    setTheme(next.theme);
    setChosen(next.theme);
  };
  const label = `${current.label}. Change to: ${next.label.toLowerCase()}`;
  return html`
    <button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${change}>
      <${current.icon} />
    </button>
  `;
}

/** Start a page. @param {Parameters<typeof Shell>[0]} props */
export function startPage(props) {
  installErrorReports();
  const root = document.getElementById("root");
  root.replaceChildren();
  render(html`<${Shell} ...${props} />`, root);
}
