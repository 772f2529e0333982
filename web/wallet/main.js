/** The wallet page starts here. */
import { recallOwner } from "../shared/session.js";
import { object } from "../shared/shapes.js";
import { startPage } from "../shared/shell.js";
import { loadEntries } from "./outbox_store.js";
import { WalletPage } from "./wallet_page.js";

startPage({
  page: "wallet",
  title: "Wallets",
  probe: (api) => api.get("/v1/wallets?limit=1", { shape: object({}) }),
  isBusy: () => loadEntries(recallOwner()).some((entry) => entry.phase === "sending"),
  content: WalletPage,
});
