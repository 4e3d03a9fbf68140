// What people asked for in vain: paths that were answered 404, each a door to its requests.

import { h } from "../../shared/dom.js";
import { number, t } from "../../shared/words.js";
import { door, filterButton } from "../filter_button.js";
import { endOf } from "../state.js";
import { table } from "../table.js";
import { when } from "../when.js";

export function missing({ paths: rows, requests, has_more: hasMore, truncated }, state, panel) {
  if (!rows.length) return null;
  panel.tell(t(hasMore ? "missing-newest" : "missing-how", { n: number(requests) }));
  const hasServices = rows.some((row) => row.service !== rows[0].service);
  return table({
    id: "missing", label: t("missing"), rows, total: truncated.paths, again: () => panel.show(),
    columns: [
      { key: "path", title: "path", kind: "main", value: (row) => row.path, cell: ({ path }) => door({ path, status: "404", all: "1" }, path, { look: "path", title: path, key: `missing-${path}` }) },
      ...(hasServices ? [{ key: "service", title: "service", value: (row) => row.service ?? "", cell: (row) => (row.service ? filterButton("service", row.service) : "–") }] : []),
      { key: "requests", title: "metric-requests", kind: "number", value: (row) => row.requests, cell: (row) => number(row.requests) },
      { key: "users", title: "metric-users", kind: "number", value: (row) => row.users, cell: (row) => number(row.users) },
      { key: "seen", title: "last-seen", kind: "number", value: (row) => Date.parse(row.last_seen), cell: (row) => when(row.last_seen, endOf(state)) },
    ],
  });
}
