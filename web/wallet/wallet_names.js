/** What a wallet is called where people read. */
import { shortId } from "../shared/format.js";

/** @param {{id: string, name: string | null, asset: string}} wallet */
export function titleOf(wallet) {
  return wallet.name || `${wallet.asset} ${shortId(wallet.id)}`;
}

/** @param {string} id @param {{id: string}[]} wallets those that are known */
export function nameOf(id, wallets) {
  const wallet = wallets.find((known) => known.id === id);
  return wallet ? titleOf(wallet) : shortId(id);
}
