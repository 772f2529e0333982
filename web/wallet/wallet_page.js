/** The wallet page: its layout, its data and its start. */
import { WALLETS } from "../shared/api/answers.js";
import { usePolled } from "../shared/api/polling.js";
import { object } from "../shared/api/shapes.js";
import { getItem, getKeyOwner, setItem } from "../shared/page/session.js";
import { startPage } from "../shared/page/shell.js";
import { html, useEffect, useMemo, useRef, useState } from "../shared/view.js";
import { Outbox } from "./outbox.js";
import { isOver } from "./outbox_store.js";
import { PricesPanel } from "./panels/prices.js";
import { SendPanel } from "./panels/send.js";
import { SentTransfersPanel } from "./panels/sent_transfers.js";
import { StatementPanel } from "./panels/statement.js";
import { WalletsPanel } from "./panels/wallets.js";

const PAGE_LENGTH = 50;

/** @param {{api: import("../shared/api/client.js").Api}} props */
function WalletPage({ api }) {
  const { polled, onMore } = useWallets(api);
  const [selected, select] = useSelected(polled.data);
  const outbox = useOutbox(api, polled.refresh);
  const [shown, setShown] = useState(() => outbox.entries.find((entry) => !isOver(entry))?.key ?? null);
  const wallets = polled.data ?? [];
  const wallet = wallets.find((known) => known.id === selected);
  return html`
    <div class="grid wallet-grid">
      <div class="two-thirds">
        <${WalletsPanel} api=${api} polled=${polled} selected=${selected} onSelect=${select} onMore=${onMore} />
      </div>
      <div class="side stack">
        <${SendPanel} outbox=${outbox} polled=${polled} selected=${selected} shown=${shown} onShow=${setShown} />
        <${SentTransfersPanel} entries=${outbox.entries} wallets=${wallets} shown=${shown} onShow=${setShown} />
        <${PricesPanel} api=${api} />
      </div>
      <div class="two-thirds">
        ${wallet && html`<${StatementPanel} key=${wallet.id} api=${api} wallet=${wallet} wallets=${wallets} />`}
      </div>
    </div>
  `;
}

/** The wallets of the key. Each click on "Show more" adds a page. */
function useWallets(api) {
  const [pages, setPages] = useState(1);
  const [hasMore, setMore] = useState(false);
  const load = async (signal) => {
    const wallets = [];
    let cursor = null;
    for (let page = 0; page < pages && (page === 0 || cursor); page += 1) {
      const next = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
      const path = `/v1/wallets?limit=${PAGE_LENGTH}${next}`;
      const answer = await api.get(path, { shape: WALLETS, signal });
      wallets.push(...answer.data);
      cursor = answer.next_cursor;
    }
    setMore(cursor !== null);
    return wallets;
  };
  const polled = usePolled(load, { every_s: 4, on: [api] });
  useEffect(() => {
    if (pages > 1) polled.refresh();
  }, [pages]);
  return { polled, onMore: hasMore ? () => setPages(pages + 1) : null };
}

/** The selected wallet: the last one chosen in this tab, or the first. */
function useSelected(wallets) {
  const [chosen, setChosen] = useState(() => getItem("wallet"));
  const select = (id) => {
    setItem("wallet", id);
    setChosen(id);
  };
  const isKnown = wallets?.some((wallet) => wallet.id === chosen);
  return [isKnown ? chosen : (wallets?.[0]?.id ?? null), select];
}

/** The outbox of this key. Redraws the page when an entry changes. */
function useOutbox(api, onStateChange) {
  const outbox = useMemo(() => new Outbox(api, getKeyOwner()), [api]);
  const [, setCount] = useState(0);
  const lastStates = useRef("");
  useEffect(() => {
    const unsubscribe = outbox.subscribe(() => {
      setCount((count) => count + 1);
      const states = outbox.entries.map((entry) => entry.transfer?.state ?? entry.phase).join();
      if (states !== lastStates.current) onStateChange();
      lastStates.current = states;
    });
    outbox.open();
    return () => {
      unsubscribe();
      outbox.close();
    };
  }, [outbox]);
  return outbox;
}

startPage({
  page: "wallet",
  title: "Wallets",
  checkKey: (api) => api.get("/v1/wallets?limit=1", { shape: object({}) }),
  content: WalletPage,
});
