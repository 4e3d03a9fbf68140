// Routes that the app declares, or that were asked for earlier, and nobody asked for in the last 30 days.

import { h } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { number, t } from "../../shared/words.js";
import { door } from "../filter_button.js";
import { NOW } from "../state.js";
import { table } from "../table.js";

export function unused({ unused_endpoints: rows, period_days: days, known_endpoints: known }, _state, panel) {
  panel.tell(t("unused-how", { days: number(days), n: number(rows.length), all: number(known) }));
  if (!rows.length) return null;
  return table({
    id: "unused", label: t("unused"), rows, again: () => panel.show(),
    columns: [
      { key: "endpoint", title: "endpoint", kind: "main", value: (row) => pageName(row.endpoint), cell: (row) => h("span", { class: "path" }, pageName(row.endpoint)) },
      { key: "methods", title: "method", cell: (row) => row.methods.join(", ") },
      { key: "earlier", title: "calls-earlier", kind: "number", value: (row) => row.requests_earlier, cell: earlier },
    ],
  });
}

/** Leads to the calls of before, which lie within a year. */
const earlier = (row) =>
  row.requests_earlier ? door({ ...NOW, period: "1y", endpoint: row.endpoint }, number(row.requests_earlier), { to: "requests" }) : number(0);
