/** The ops page starts here. */
import { ApiError } from "../shared/api_errors.js";
import { startPage } from "../shared/shell.js";
import { NEEDS_ADMIN } from "./forbidden.js";
import { OpsPage } from "./ops_page.js";
import { OVERVIEW } from "./overview_shape.js";

/** Whether a key is good for this page: one of a client is good, and yet not for this. */
async function probe(api) {
  try {
    await api.get("/v1/ops/overview", { shape: OVERVIEW });
  } catch (error) {
    if (error.status !== 403) throw error;
    throw new ApiError("problem", NEEDS_ADMIN, { status: 403, code: "needs_admin" });
  }
}

startPage({ page: "ops", title: "Operations", probe, content: OpsPage });
