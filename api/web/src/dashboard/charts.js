// Charts by Chart.js, in the colours of the page, each with its numbers as a table for who does not see it.

import { h } from "../shared/dom.js";
import { number, t } from "../shared/words.js";
import { brush, zoom } from "./brush.js";
import { IN_PART, legendOf, MARKS, placed, tipOf } from "./marks.js";

/** It comes while the first answers are asked for. */
const engine = import("./chart_engine.js").then(({ Chart }) => {
  Chart.register(MARKS, IN_PART);
  return Chart;
});

/** Calls something once what the page has now is painted. */
export const afterPaint = (then) => requestAnimationFrame(() => setTimeout(then));

const NARROW_PX = 560;
const drawn = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
/** What asks for a computed style has the page styled anew: once for each colour of a theme is enough. */
const computed = new Map();
/** Colours as the theme of now has them: a custom property holds `light-dark(…)`, which a canvas does not understand. */
function resolved(name) {
  const key = `${name} ${document.documentElement.dataset.theme} ${dark.matches}`;
  if (!computed.has(key)) {
    const probe = h("span", { hidden: true });
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    computed.set(key, getComputedStyle(probe).color);
    probe.remove();
  }
  return computed.get(key);
}
let family = "";

/**
 * Gives a chart for a panel; its canvas is kept between answers.
 * `sets`: {label, values, colour (of the page), line?: bool, dash?}; `format` writes a value; `showsAll`: no label is left out.
 * `spans`: begin and end of each step; with these, people can look into a part of it. `inPart`: places of the steps that
 * are not whole. `dates`: the day of each label that names but a time of day.
 */
export function chart({ id, label, labels, titleOf, sets, format = number, stacked = false, showsAll = false, height = "tall", spans = null, inPart = [], dates = null }) {
  const kept = drawn.get(id);
  // What Chart.js watches the size of is the parent of its canvas: both are kept.
  const canvas = kept?.chart.canvas ?? h("canvas");
  const room = kept?.room ?? h("div", { class: "room" }, canvas);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const ink = resolved("muted");
  const all = placed(spans ?? []);
  // Where there is little room, a label that must stay is broken into lines.
  if (showsAll && innerWidth < NARROW_PX) labels = labels.map((text) => text && text.split(" "));
  const datasets = sets.map((set) => {
    const tone = resolved(set.colour);
    return set.line
      ? { type: "line", stack: set.label, label: set.label, data: set.values, borderColor: tone, backgroundColor: tone, borderWidth: 2,
          pointRadius: set.values.length < 3 ? 3 : 0, pointHitRadius: 12, tension: 0.25, spanGaps: true, borderDash: set.dash ?? [] }
      : { type: "bar", label: set.label, data: set.values, backgroundColor: tone, borderRadius: 2, maxBarThickness: 22,
          categoryPercentage: 0.92, barPercentage: 0.9 };
  });
  const options = {
    responsive: true,
    maintainAspectRatio: false,
    animation: false,
    interaction: { mode: "index", intersect: false },
    font: { family: (family ||= getComputedStyle(document.body).fontFamily) },
    plugins: {
      legend: { display: false },
      marks: { all, colour: ink },
      inPart: { places: inPart, colour: resolved("line") },
      tooltip: {
        callbacks: { title: (items) => titleOf(items[0].dataIndex), label: (item) => ` ${item.dataset.label}: ${format(item.parsed.y)}`, footer: ([{ dataIndex: place }]) => [inPart.includes(place) && t("in-part-how"), ...tipOf(all, place)].filter(Boolean) },
      },
    },
    scales: {
      x: { stacked, grid: { display: false }, border: { color: resolved("line") }, ticks: { color: ink, maxRotation: 0, autoSkip: !showsAll, autoSkipPadding: 18 }, beforeFit: dates && (({ ticks }) => dated(ticks, dates)) },
      y: { stacked, beginAtZero: true, grid: { color: resolved("line") }, border: { display: false }, ticks: { color: ink, maxTicksLimit: 5, precision: 0, callback: (value) => format(value) } },
    },
  };
  options.scales.x.ticks.font = options.scales.y.ticks.font = { family: options.font.family, size: 11 };
  if (kept) {
    Object.assign(kept.chart.data, { labels, datasets });
    kept.chart.options = options;
  }
  // Chart.js measures the place of its canvas: it is drawn once it has one, and after the numbers beside it are painted.
  engine.then((Chart) => afterPaint(() => {
    if (!canvas.isConnected) return;
    const now = drawn.get(id);
    if (now) now.chart.update();
    else drawn.set(id, { room, chart: new Chart(canvas, { data: { labels, datasets }, options }) });
  }));
  const legend = h("ul", { class: "legend", "aria-hidden": all.length ? null : "true" }, ...legendOf(all), inPart.length > 0 && h("li", null, h("i", { class: "in-part" }), t("in-part-how")), ...sets.map((set) => {
    const key = h("i");
    key.style.background = `var(--${set.colour})`;
    return h("li", null, key, set.label);
  }));
  const host = h("div", { class: `chart ${height}` }, room);
  if (spans?.length > 1) {
    const placeOf = (x) => Math.max(0, Math.min(spans.length - 1, drawn.get(id)?.chart.scales.x.getValueForPixel(x) ?? 0));
    brush(host, placeOf, spans);
  }
  const titled = (place) => (inPart.includes(place) ? `${titleOf(place)} (${t("in-part")})` : titleOf(place));
  return [legend, host, asTable({ id, label, titleOf: titled, sets, format, spans })];
}

/** Puts its day below the first label, and below each that begins another. */
function dated(ticks, dates) {
  let last = null;
  for (const tick of ticks) {
    const day = dates[tick.value];
    if (day !== last) tick.label = [tick.label, day].flat();
    last = day;
  }
}

function asTable({ id, label, titleOf, sets, format, spans }) {
  const step = (title, place) => (spans?.length > 1
    ? h("button", { type: "button", class: "link", title: t("zoom-in"), onclick: () => zoom(spans[place], spans[place]) }, title)
    : title);
  const details = h("details", { class: "as-table" }, h("summary", { "data-key": `${id}-table` }, t("as-table")));
  const wasOpen = opened.has(id);
  details.addEventListener("toggle", () => {
    if (details.open) opened.add(id);
    else opened.delete(id);
    if (details.open && details.children.length === 1) {
      details.append(
        h("div", { class: "scroll low", tabindex: "0", role: "group", "aria-label": label },
          h("table", null,
            h("thead", null, h("tr", null, h("th", { scope: "col" }, t("time")), ...sets.map((set) => h("th", { scope: "col", class: "number" }, set.label)))),
            h("tbody", null, ...sets[0].values.map((_, place) =>
              h("tr", null, h("th", { scope: "row" }, step(titleOf(place), place)), ...sets.map((set) => h("td", { class: "number" }, format(set.values[place])))))))),
      );
    }
  });
  details.open = wasOpen;
  return details;
}
const opened = new Set();

