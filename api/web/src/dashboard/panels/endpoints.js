// How often each endpoint was called, how long it took and where, what failed.

import { h } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { duration, number, percent, t } from "../../shared/words.js";
import { door, filterButton } from "../filter_button.js";
import { of } from "../of.js";
import { partsBar, saidParts } from "../parts.js";
import { spark } from "../spark.js";
import { table } from "../table.js";

/** A time of which a share is slower leads to those requests. */
const slower = (key) => ({ ...time(key, key.slice(0, -3)), cell: (row) => (row[key] ? door({ ...itself(row), slower: String(Math.floor(row[key])) }, duration(row[key]), { title: t("look-at-slower"), to: "requests" }) : duration(row[key])) });

/** A p95 is said beside that of the time before where it moved by so much. */
const MOVED = 0.1;
const before = ({ p95_ms: now, p95_before_ms: then }) =>
  now === null || !then || Math.abs(now / then - 1) < MOVED ? null : h("span", { class: "part" }, t(now > then ? "p95-up" : "p95-down", { time: duration(then) }));
const withBefore = (p95) => ({ ...p95, cell: (row) => [p95.cell(row), before(row)] });

const itself = ({ endpoint, service }) => ({ endpoint, ...(service && { service }) });

const time = (key, title) => ({ key, title, kind: "number", value: (row) => row[key], cell: (row) => duration(row[key]) });

/** Gives a panel's `load` that has the endpoints at once, and shows them again when their parts are there. */
export const withParts = (load, findParts) => async (now, signal, panel) => {
  const parts = findParts(now, signal).catch(() => null);
  const answer = await load(now, signal);
  answer.parts = new Map();
  parts.then((found) => {
    for (const one of found?.endpoints ?? []) answer.parts.set(`${one.service ?? ""} ${one.endpoint}`, one);
    if (panel.answer === answer) panel.show();
  });
  return answer;
};

export function endpoints({ endpoints: rows, spark_in_part: inPart, has_percentiles: hasPercentiles, truncated, parts }, _state, panel) {
  if (!rows.length) return null;
  panel.tell(of("app", "endpoints"), !hasPercentiles && t("no-percentiles"));
  return table({
    id: "endpoints",
    label: t("endpoints"),
    rows,
    total: truncated?.endpoints,
    again: () => panel.show(),
    columns: [
      { key: "endpoint", title: "endpoint", kind: "main", value: (row) => pageName(row.endpoint), cell: name },
      ...(isOneService(rows) ? [] : [{ key: "service", title: "service", kind: "one-line", value: (row) => row.service ?? "", cell: service }]),
      { key: "spark", title: "trend", cell: (row) => spark(row.spark, inPart) },
      { key: "calls", title: "calls", kind: "number", value: (row) => row.calls, cell: (row) => door(itself(row), number(row.calls), { to: "requests" }) },
      ...(rows[0].calls_before === null ? [] : [{ key: "change", title: "change", kind: "number", value: change, cell: changed }]),
      time("avg_ms", "average"),
      ...(hasPercentiles ? [slower("p50_ms"), withBefore(slower("p95_ms")), slower("p99_ms")] : []),
      { key: "parts", title: "waterfall", kind: "parts", cell: (row) => where(parts.get(`${row.service ?? ""} ${row.endpoint}`)) },
      { ...time("app_ms", "in-app"), cell: (row) => [duration(row.app_ms), part(row.app_ms, row.app_calls, row.calls)] },
      { ...time("proxy_ms", "outside-app"), cell: outside },
      { key: "errors", title: "metric-errors", kind: "number", value: (row) => row.errors_5xx, cell: errors },
      { key: "refused", title: "errors-4xx", kind: "number", value: (row) => row.errors_4xx, cell: (row) => failed(row, row.errors_4xx, "4xx") },
      { key: "left", title: "errors-499", kind: "number", value: (row) => row.client_closed_499, cell: (row) => failed(row, row.client_closed_499, "499") },
    ],
  });
}

/** Where the time of its newest requests went: its place is there before they are. */
const where = (row) => (row ? partsBar(row, `${saidParts(row)} (${t("parts-of", { n: number(row.requests) })})`) : h("div", { class: "phases" }));

const outside = ({ proxy_ms: ms, proxy_calls: of, calls }) =>
  ms === null ? h("span", { class: "none", title: t("outside-unknown") }, duration(ms)) : [duration(ms), part(ms, of, calls)];

/** Of how many of its calls a time is, where it is not of all. */
const part = (ms, of, calls) =>
  ms === null || of === calls ? null : h("span", { class: "part", title: t("part-how") }, t("part", { n: number(of), all: number(calls) }));

/** More or fewer calls than in the time before; null: there were none then. */
const change = ({ calls, calls_before: before }) => (before ? (calls - before) / before : null);

const changed = (row) =>
  change(row) === null ? h("span", { class: "none" }, t("new-here")) : h("span", { title: t("calls-before", { n: number(row.calls_before) }) }, `${change(row) > 0 ? "+" : ""}${percent(change(row), 0)}`);

const isOneService = (rows) => new Set(rows.map((row) => row.service)).size < 2;

const service = (row) => (row.service === null ? h("span", { class: "none" }, "–") : filterButton("service", row.service));

const name = (row) => [
  filterButton("endpoint", row.endpoint, "path", pageName(row.endpoint)),
  pageName(row.feature) === pageName(row.endpoint) ? null : h("span", { class: "feature" }, pageName(row.feature)),
];

const errors = (row) =>
  row.errors_5xx ? h("span", { class: "bad" }, failed(row, row.errors_5xx, "5xx"), ` · ${percent(row.error_rate)}`) : h("span", { class: "none" }, "0");

/** How many calls ended so, and the way to them. */
const failed = (row, count, status) => (count ? door({ ...itself(row), status }, number(count), { to: "requests" }) : number(0));
