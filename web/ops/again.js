/** Asking at once when the reason for not knowing is gone. */
import { useEffect } from "../shared/view.js";

/**
 * What failed while the database was away would wait longer and longer; the overview, which is
 * answered meanwhile, tells when it is back.
 * @param {import("../shared/polling.js").Polled} polled @param {boolean} isWell
 */
export function useAgain(polled, isWell) {
  useEffect(() => {
    if (isWell && polled.error?.mayPass) polled.refresh();
  }, [isWell]);
}
