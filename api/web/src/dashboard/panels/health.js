// Uptime and how it was measured, response times over time, the store's own speed, how fresh the data is.

import { h, rich, svg } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { duration, moment, number, percent, t, tn } from "../../shared/words.js";
import { spansOf } from "../brush.js";
import { chart } from "../charts.js";
import { door, filterButton, narrow } from "../filter_button.js";
import { endOf, NOW, UNFILTERED } from "../state.js";
import { isElsewhere, labelled } from "../steps.js";
import { when } from "../when.js";

export const STALE_S = 15 * 60;
/** The newest. */
const OUTAGES_SHOWN = 5;
/** Units that the strip is wide. */
const STRIP = 1000;

export function health(answer, state, panel) {
  const { uptime_percentage: uptime, over_time: steps, influxdb_query_times: store, step, data_freshness_seconds: fresh, error_rate: rates } = answer;
  if (fresh === null) return null;
  panel.tell(isElsewhere(step) && t("days-of-utc"));
  const isStale = !endOf(state) && fresh > STALE_S;
  const newest = new Date(Date.parse(answer.window.to) - fresh * 1000).toISOString();
  const freshnessHow = endOf(state) ? "freshness-past" : isStale ? "freshness-stale" : "freshness-how";
  const facts = h("dl", { class: "facts" },
    fact("uptime", uptime === null ? "–" : percent(uptime / 100, 2), uptimeHow(answer), uptime < 99 && uptime !== null),
    fact("error-rate", rates.errors_5xx ? door({ ...UNFILTERED, service: state.service, status: "5xx" }, percent(rates.error_rate, 2), { key: "health-errors", to: "requests" }) : percent(rates.error_rate, 2), t("error-rate-how", { errors: number(rates.errors_5xx), n: number(rates.requests) })),
    fact("store-time", duration(store.p95_ms), t("store-time-how", { store: store.store, n: number(store.count) })),
    fact("freshness", when(newest, endOf(state)), t(freshnessHow), isStale));
  return [facts, services(answer), strip(answer), outages(answer), errorsOverTime(answer), steps.some((one) => one.p50_ms !== null) ? times(answer) : h("p", { class: "empty" }, rich(t("empty-times")))];
}

const uptimeHow = (answer) =>
  t("uptime-how", { n: tn("minutes", answer.minutes_with_traffic), down: number(answer.minutes_down), part: number(answer.minutes_partial) });

/** Who was up how long, where there are several. */
function services({ uptime_by_service: rows }) {
  if (rows.length < 2) return null;
  return h("dl", { class: "services", "aria-label": t("uptime-by-service") }, ...rows.map((row) =>
    h("div", null,
      h("dt", null, row.service === null ? "–" : filterButton("service", row.service)),
      h("dd", { class: row.minutes_down ? "bad" : null, title: uptimeHow(row) }, row.uptime_percentage === null ? "–" : percent(row.uptime_percentage / 100, 2)))));
}

function outages({ outages: rows, uptime_by_service: all }) {
  if (!rows.length) return null;
  const line = (row) =>
    h("li", null, door(failedIn(row), said(row), { to: "requests" }),
      all.length > 1 && row.service ? ` · ${row.service}` : null,
      row.causes.length ? h("span", { class: "why" }, row.causes.map(cause).join(", ")) : null);
  const older = rows.slice(OUTAGES_SHOWN);
  return [
    h("ul", { class: "outages", "aria-label": t("outages") }, ...rows.slice(0, OUTAGES_SHOWN).map(line)),
    older.length > 0 && h("details", { class: "as-table" }, h("summary", { "data-key": "older-outages" }, t("and-more", { n: number(older.length) })), h("ul", { class: "outages" }, ...older.map(line))),
  ];
}

const said = ({ start, end, minutes }) => {
  const isOneDay = moment(start, "day") === moment(end, "day");
  return t("outage", { from: moment(start, "short"), to: moment(end, isOneDay ? "hour" : "short"), n: tn("minutes", minutes) });
};

/** What of the state changes to look at what failed in an outage. */
const failedIn = ({ start, end, service }) => ({ ...UNFILTERED, ...NOW, from: start, to: end, status: "5xx", service: service ?? "" });

const cause = ({ status, endpoint, requests }) => `${number(requests)} × ${status} ${pageName(endpoint)}`;

/** The time shown as a strip, outages red: each leads to what failed in it. The list below has the same for a keyboard. */
function strip({ window: shown, outages: rows, minutes_with_traffic: minutes }) {
  if (!minutes) return null;
  const [from, to] = [Date.parse(shown.from), Date.parse(shown.to)];
  const place = (iso) => ((Math.min(to, Math.max(from, Date.parse(iso))) - from) / (to - from)) * STRIP;
  return svg("svg", { class: "uptime", viewBox: `0 0 ${STRIP} 12`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "up", width: STRIP, height: 12 }),
    ...rows.map((row) => svg("rect", { class: "down", x: place(row.start), width: Math.max(2, place(row.end) - place(row.start)), height: 12, onclick: narrow(failedIn(row), false, "requests") }, svg("title", null, said(row)))));
}

/** What each chart over time has. */
function drawn({ over_time: steps, over_time_in_part: inPart, step, window: shown }) {
  const begins = steps.map((one) => one.time);
  return { ...labelled(begins, step), spans: spansOf(begins, shown.to), inPart, height: "low" };
}

function errorsOverTime(answer) {
  const { over_time: steps } = answer;
  if (!steps.some((one) => one.errors_5xx)) return null;
  return [
    h("h3", null, t("errors-over-time")),
    ...chart({
      id: "errors-over-time", label: t("errors-over-time"), ...drawn(answer),
      sets: [{ label: "5xx", values: steps.map((one) => one.errors_5xx), colour: "bad" }],
    }),
  ];
}

const fact = (key, figure, how, isBad) =>
  h("div", { class: isBad ? "fact warn" : "fact" }, h("dt", null, t(key)), h("dd", null, h("span", { class: "figure" }, figure), h("span", { class: "how" }, rich(how))));

function times(answer) {
  const { over_time: steps } = answer;
  return [
    h("h3", null, t("latency")),
    chart({
      id: "latency",
      label: t("latency-label"),
      ...drawn(answer),
      format: duration,
      sets: [
        { label: "p50", values: steps.map((step) => step.p50_ms), colour: "accent", line: true },
        { label: "p95", values: steps.map((step) => step.p95_ms), colour: "second", line: true },
        { label: "p99", values: steps.map((step) => step.p99_ms), colour: "third", line: true, dash: [4, 3] },
      ],
    }),
  ].flat();
}
