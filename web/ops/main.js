/** The ops page starts here. */
import { startPage } from "../shared/shell.js";
import { object, text } from "../shared/shapes.js";
import { OpsPage } from "./ops_page.js";

startPage({
  page: "ops",
  title: "Operations",
  probe: (api) => api.get("/v1/ops/overview", { shape: object({ status: text }) }),
  content: OpsPage,
});
