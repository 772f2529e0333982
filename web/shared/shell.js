/**
 * The frame of both pages: header, the question for an API key, and whom to ask with it.
 * Guarantees that nothing below is drawn without a key that was good once, and that a key which
 * is refused later is asked for again.
 */
import { Api } from "./api.js";
import { Dialog } from "./dialog.js";
import { Mark } from "./icons.js";
import { KeyForm } from "./key_form.js";
import { PageBoundary, Panel } from "./panel.js";
import { installReporting } from "./reporting.js";
import { dropKey, forgetAll, isUnsettled, keepKey, recallAll, recallKey } from "./session.js";
import { ThemeToggle } from "./theme.js";
import { html, render, useEffect, useMemo, useState } from "./view.js";

const PAGES = [
  { page: "wallet", href: "/", label: "Wallets" },
  { page: "ops", href: "/ops", label: "Operations" },
];

/**
 * @param {object} props
 * @param {"wallet" | "ops"} props.page
 * @param {string} props.title the page's heading, for those who cannot see it
 * @param {(api: Api) => Promise<unknown>} props.probe tells whether a key is good for this page
 * @param {any} props.content the component that draws the page; gets `api` and `apiKey`
 */
function Shell({ page, title, probe, content }) {
  const [key, setKey] = useState(recallKey);
  const [refusal, setRefusal] = useState(null);
  const [isAsking, setAsking] = useState(false);
  const [visit, setVisit] = useState(0);
  const api = useMemo(
    () =>
      key &&
      new Api(key, (error) => {
        dropKey();
        setKey(null);
        setRefusal(error);
      }),
    [key, visit],
  );
  const enter = async (entered) => {
    await keepKey(entered);
    setRefusal(null);
    setKey(entered);
  };
  const forget = () => {
    forgetAll();
    setAsking(false);
    setRefusal(null);
    setKey(null);
  };
  useChangesElsewhere(() => {
    setKey(recallKey());
    setVisit((count) => count + 1);
    setAsking(false);
  });
  return html`
    <a class="skip" href="#content" onClick=${skip}>Skip to content</a>
    <${Header} page=${page} onForget=${api && (() => (isUnsettled() ? setAsking(true) : forget()))} />
    <main id="content" class="page" tabindex="-1">
      <h1 class="unseen">${title}</h1>
      ${api
        ? html`<${PageBoundary} name="page"><${content} key=${visit} api=${api} /></>`
        : html`
            <${Panel} name="key" title="Enter your API key" className="narrow">
              <${KeyForm} probe=${probe} refusal=${refusal} onEnter=${enter} />
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
        A transfer is still being sent, and its end is not known. Without the key this page loses
        track of it: it may be recorded, and is not sent again.
      </p>
      <div class="dialog-buttons">
        <button class="button primary" onClick=${onClose}>Keep the key</button>
        <button class="button" onClick=${onForget}>Forget it all the same</button>
      </div>
    </>
  `;
}

/**
 * A page that comes back from the browser's cache remembers what another page of this tab may
 * have changed meanwhile: the key, and the transfers, which it would write over.
 */
function useChangesElsewhere(startAnew) {
  useEffect(() => {
    let left = null;
    const leave = () => {
      left = recallAll();
    };
    const comeBack = (event) => {
      if (event.persisted && recallAll() !== left) startAnew();
    };
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", comeBack);
    return () => {
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("pageshow", comeBack);
    };
  }, []);
}

/** By script: as an address it would take the place of what a page keeps there. */
function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Header({ page, onForget }) {
  return html`
    <header class="top">
      <div class="top-inner">
        <a class="brand" href="/" aria-label="Truepenny"><${Mark} /><span>Truepenny</span></a>
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

/** Start a page. @param {Parameters<typeof Shell>[0]} props */
export function startPage(props) {
  installReporting();
  const root = document.getElementById("root");
  root.replaceChildren();
  render(html`<${Shell} ...${props} />`, root);
}
