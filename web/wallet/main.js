/** The wallet page starts here. */
import { object } from "../shared/shapes.js";
import { startPage } from "../shared/shell.js";
import { WalletPage } from "./wallet_page.js";

startPage({
  page: "wallet",
  title: "Wallets",
  probe: (api) => api.get("/v1/wallets?limit=1", { shape: object({}) }),
  content: WalletPage,
});
