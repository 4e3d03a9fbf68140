// One person's way through the time shown: a lane for each endpoint, a mark for each request, and their sessions above.

import { h } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { duration, moment, number, t, tn } from "../../shared/words.js";
import { ask } from "../ask.js";
import { door } from "../filter_button.js";
import { logParameters, usersOf } from "../state.js";
import { statusClass } from "./requests.js";

/** As many as one answer has. */
const REQUESTS_MAX = 200;
const LANES_MAX = 12;
/** A longer pause ends a session, as everywhere. */
const GAP_MS = 30 * 60_000;
/** Less than that, seconds tell its ends apart. */
const SHORT_MS = 10 * 60_000;

/** Whether the page is about one person; `only` is the member whom it shows alone. */
export const isOfOne = (state, only) => Boolean(only) || usersOf(state).length === 1;

export const loadTrail = (state, signal) => ask("/analytics/panels/requests", `${logParameters(state)}&limit=${REQUESTS_MAX}`, signal);

export function trail({ requests: lines, next_cursor: more }, state, panel, { open }) {
  if (!lines.length) return null;
  panel.tell(more ? t("trail-newest", { n: number(lines.length) }) : null);
  const times = lines.map((line) => Date.parse(line.timestamp));
  const [last, first] = [times[0], times.at(-1)];
  const place = (ms) => (ms - first) / (last - first || 1);
  const runs = sessions(times);
  return h("div", { class: "trail" },
    lane(tn("sessions", runs.length), runs.map(([from, to]) => bar(place(from), place(to) - place(from), `${moment(from, "short")} – ${moment(to, "time")}`))),
    ...lanes(lines).map(([endpoint, own]) =>
      lane(door({ endpoint }, pageName(endpoint), { look: "path", stays: true }), own.map((line) => mark(line, place(Date.parse(line.timestamp)), open)))),
    h("p", { class: "trail-ends" }, ...[first, last].map((at) => h("time", null, moment(at, last - first < SHORT_MS ? "seconds" : "short")))));
}

const lane = (name, marks) => h("div", { class: "trail-lane" }, h("span", { class: "trail-name" }, name), h("div", { class: "lane" }, ...marks));

/** Begin and end of each session, the oldest first; `times` has the newest first. */
function sessions(times) {
  const runs = [];
  for (const time of times.toReversed()) {
    const run = runs.at(-1);
    if (run && time - run[1] <= GAP_MS) run[1] = time;
    else runs.push([time, time]);
  }
  return runs;
}

/** The endpoints that were used most, each with its requests. */
const lanes = (lines) =>
  [...Map.groupBy(lines, (line) => line.endpoint)].sort((a, b) => b[1].length - a[1].length).slice(0, LANES_MAX);

function at(element, from) {
  element.style.setProperty("--from", from);
  return element;
}

function bar(from, share, title) {
  const run = at(h("i", { class: "bar", title }), from);
  run.style.setProperty("--share", share);
  return run;
}

/** The list of requests below has the same for a keyboard. */
const mark = (line, from, open) =>
  at(h("i", { class: `dot-mark ${statusClass(line.status)}`, onclick: () => open(line),
    title: `${moment(line.timestamp, "seconds")} · ${line.method} ${line.path} · ${line.status} · ${duration(line.response_time_ms)}` }), from);
