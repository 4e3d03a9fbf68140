// Sessions, users, requests and errors beside those of the period before; requests over time; peak hours.

import { h, sr } from "../../shared/dom.js";
import { number, percent, t, weekdays } from "../../shared/words.js";
import { chart } from "../charts.js";
import { door, leap } from "../filter_button.js";
import { of } from "../of.js";
import { spansOf } from "../brush.js";
import { NOW } from "../state.js";
import { isElsewhere, labelled } from "../steps.js";

export function totals({ totals: rows, named, before_covered: isCovered }, state) {
  return h("div", null,
    h("dl", { class: "tiles" }, ...rows.map((row) => tile(row, state, isCovered))),
    // Without a share there is nobody to name.
    named.share !== null && h("p", { class: "panel-note" }, t("named-share", { share: percent(named.share, 0), n: number(named.requests) })));
}

/** The server answers shorter times by the minute, where it still has the requests. */
const FINE_MS = 12 * 3_600_000;
/** Of these Health and the list of requests have other numbers. */
const OF_USAGE = new Set(["requests", "errors"]);

function tile({ metric, now, before, change_percent: change }, state, isCovered) {
  const period = t(state.from ? "before-from" : `before-${state.period}`);
  const nothing = now === null ? t("not-under-filter") : t(isCovered ? "none-before" : "part-before", { period });
  let delta = h("span", { class: "delta" }, nothing);
  if (change !== null && Math.round(change) === 0) delta = h("span", { class: "delta" }, t("same-as-before", { period }));
  else if (change !== null) {
    const direction = change > 0 ? "up" : "down";
    const tone = metric === "errors" && change > 0 ? " bad" : metric === "errors" && change < 0 ? " good" : "";
    delta = h("span", { class: `delta ${direction}${tone}` },
      h("span", { class: "change" }, h("span", { "aria-hidden": "true" }, { up: "↑ ", down: "↓ " }[direction]),
        sr(t(`change-${direction}`)), " ", percent(Math.abs(change) / 100, 0)),
      " ", t("than-before", { n: number(before), period }));
  }
  return h("div", { class: `tile ${metric === "errors" && now ? "bad" : ""}` },
    h("dt", null, t(`metric-${metric}`)), OF_USAGE.has(metric) && h("dd", { class: "of-what" }, of("usage", metric)), h("dd", null, h("span", { class: "figure" }, way(metric, now)), delta));
}

/** Where the number of a tile leads. */
function way(metric, now) {
  if (!now) return number(now);
  if (metric === "errors") return door({ status: "5xx" }, number(now), { key: "tile-errors", to: "requests" });
  return leap(metric === "requests" ? "requests" : "users", number(now));
}

export function series({ series: points, series_in_part: inPart, series_before: ghost, step, window: shown }, _state, panel) {
  if (!points.some((point) => point.requests)) return null;
  panel.tell(of("usage", "series"), step === "hour" && Date.parse(shown.to) - Date.parse(shown.from) <= FINE_MS && t("minutes-gone"), isElsewhere(step) && t("days-of-utc"));
  const begins = points.map((point) => point.time);
  const said = labelled(begins, step);
  const sum = points.reduce((total, point) => total + point.requests, 0);
  const peak = points.reduce((best, point) => (point.requests > best.requests ? point : best));
  return chart({
    id: "series",
    label: t("series-label", { n: number(sum), peak: number(peak.requests), time: said.titleOf(points.indexOf(peak)) }),
    ...said,
    spans: spansOf(begins, shown.to),
    inPart,
    stacked: true,
    sets: [
      { label: t("series-fine"), values: points.map((point) => point.requests - point.errors), colour: "accent-soft" },
      { label: t("metric-errors"), values: points.map((point) => point.errors), colour: "bad" },
      ...(ghost.length ? [{ label: t("series-before"), values: ghost, colour: "muted", line: true, dash: [3, 3] }] : []),
    ],
  });
}

const LEVELS = 5;

export function heat({ heat: cells, heat_days: days, timezone, window: shown }, _state, panel) {
  const top = Math.max(...cells.flat());
  if (!top) return null;
  panel.tell(of("usage", "heat"), t("in-zone", { zone: timezone, n: number(days) }));
  const short = weekdays("short");
  const long = weekdays("long");
  const said = h("output", { class: "heat-said" }, t("heat-how"));
  const way = h("span");
  const tell = ({ target }) => {
    if (!target.dataset.said) return;
    said.textContent = target.dataset.said;
    const [, day, hour] = target.dataset.key.split("-").map(Number);
    way.replaceChildren(...(cells[day][hour] ? [door(() => newestHour(shown.to, timezone, day, hour), t("heat-look"), { key: "heat-look" })] : []));
  };
  const map = h("div", { class: "scroll plain" },
    h("table", { class: "heat", role: "grid", "aria-label": t("heat"), onfocusin: tell, onclick: tell, onpointerover: tell, onkeydown: walk },
      h("thead", null, h("tr", null, h("td"), ...Array.from({ length: 24 }, (_, hour) =>
        h("th", { scope: "col" }, hour % 6 ? sr(`${hour} h`) : `${hour} h`)))),
      h("tbody", null, ...cells.map((row, day) =>
        h("tr", null, h("th", { scope: "row", abbr: long[day] }, short[day]), ...row.map((count, hour) =>
          h("td", { class: `level-${levelOf(count, top)}`, tabindex: day + hour ? -1 : 0, "data-key": `heat-${day}-${hour}`,
            "data-said": t("heat-cell", { day: long[day], hour, next: (hour + 1) % 24, n: number(count) }) }, sr(number(count)))))))));
  const shades = Array.from({ length: LEVELS + 1 }, (_, level) => h("i", { class: `level-${level}` }));
  return [map, h("p", { class: "heat-foot" }, h("span", null, said, " ", way), h("span", { class: "heat-key" }, "0", h("span", { class: "heat", "aria-hidden": "true" }, ...shades), number(top)))];
}

const HOUR_MS = 3_600_000;
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/** The newest hour before `end` that is this one of the week in the zone of the map, as what of the state changes. */
function newestHour(end, zone, day, hour) {
  const clock = new Intl.DateTimeFormat("en", { weekday: "short", hour: "numeric", minute: "numeric", hourCycle: "h23", timeZone: zone });
  const told = (ms) => Object.fromEntries(clock.formatToParts(ms).map(({ type, value }) => [type, value]));
  const last = Date.parse(end) - 1;
  let from = last - (last % 60_000) - told(last).minute * 60_000;
  // A week, and the hour that a change of the clock may add.
  for (let hours = 0; hours < 7 * 24 + 1; hours += 1) {
    const { weekday, hour: now } = told(from);
    if (weekday === DAYS[day] && Number(now) === hour) break;
    from -= HOUR_MS;
  }
  return { ...NOW, from: new Date(from).toISOString(), to: new Date(Math.min(from + HOUR_MS, last + 1)).toISOString() };
}

const levelOf = (count, top) => (count ? Math.max(1, Math.ceil((count / top) * LEVELS)) : 0);
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -24, ArrowDown: 24 };

/** Arrows lead from cell to cell: the map is one stop for Tab. */
function walk(event) {
  const cells = [...event.currentTarget.querySelectorAll("tbody td")];
  const next = cells[cells.indexOf(event.target) + (STEPS[event.key] ?? NaN)];
  if (!next) return;
  event.preventDefault();
  cells.forEach((cell) => cell.setAttribute("tabindex", cell === next ? 0 : -1));
  next.focus();
}
