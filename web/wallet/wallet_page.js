/** The wallet page: wallets and their statement, sending, prices. */
import { usePolled } from "../shared/polling.js";
import { keep, recall, recallOwner } from "../shared/session.js";
import { html, useEffect, useMemo, useRef, useState } from "../shared/view.js";
import { Outbox } from "./outbox.js";
import { isOver } from "./outbox_store.js";
import { PricesPanel } from "./prices_panel.js";
import { RecentPanel } from "./recent_panel.js";
import { SendPanel } from "./send_panel.js";
import { StatementPanel } from "./statement_panel.js";
import { WALLETS } from "./wallet_shapes.js";
import { WalletsPanel } from "./wallets_panel.js";

const PAGE_LENGTH = 50;

/** @param {{api: import("../shared/api.js").Api}} props */
export function WalletPage({ api }) {
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
        <${RecentPanel} entries=${outbox.entries} wallets=${wallets} shown=${shown} onShow=${setShown} />
        <${PricesPanel} api=${api} />
      </div>
      <div class="two-thirds">
        ${wallet && html`<${StatementPanel} key=${wallet.id} api=${api} wallet=${wallet} wallets=${wallets} />`}
      </div>
    </div>
  `;
}

/** The wallets, page after page as far as somebody asked for them. */
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

/** The wallet that is looked at: the one chosen last in this tab, else the first. */
function useSelected(wallets) {
  const [chosen, setChosen] = useState(() => recall("wallet"));
  const select = (id) => {
    keep("wallet", id);
    setChosen(id);
  };
  const isThere = wallets?.some((wallet) => wallet.id === chosen);
  return [isThere ? chosen : (wallets?.[0]?.id ?? null), select];
}

/** The outbox of this key, drawn anew with each of its changes. */
function useOutbox(api, onMoved) {
  const outbox = useMemo(() => new Outbox(api, recallOwner()), [api]);
  const [, setCount] = useState(0);
  const seen = useRef("");
  useEffect(() => {
    const end = outbox.subscribe(() => {
      setCount((count) => count + 1);
      const states = outbox.entries.map((entry) => entry.transfer?.state ?? entry.phase).join();
      if (states !== seen.current) onMoved();
      seen.current = states;
    });
    outbox.open();
    return () => {
      end();
      outbox.close();
    };
  }, [outbox]);
  return outbox;
}
