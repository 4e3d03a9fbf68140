// What broke, in groups: new ones and those that are back first. A group opens its newest request.

import { h } from "../../shared/dom.js";
import { pageName, titleName } from "../../shared/names.js";
import { duration, moment, number, percent, t, tn } from "../../shared/words.js";
import { door, filterButton } from "../filter_button.js";
import { nameOf } from "../marks.js";
import { around, UNFILTERED } from "../state.js";
import { isException } from "./request.js";
import { table } from "../table.js";

const MARKS_SHOWN = 3;
const HIT_SHOWN = 3;

/** `open(traceId)` shows a request; `keyOf(name)` says which filter knows a name. `isMember`: who looks is told no other names. */
export function errors(answer, _state, panel, { open, keyOf, isMember }) {
  if (isMember) panel.tell(t("errors-own"));
  const compared = answer.deployments.length ? deployments(answer.deployments, panel) : null;
  if (!compared) {
    for (const mark of answer.markers.slice(-MARKS_SHOWN)) panel.tell(h("span", { class: "mark" }, "▲ ", nameOf(mark), ", ", moment(mark.time, "short")));
  }
  const ungrouped = answer.ungrouped > 0 && [tn("errors-ungrouped", answer.ungrouped), " ", door({ ...UNFILTERED, status: "5xx" }, t("errors-look"), { to: "requests", key: "errors-ungrouped" })];
  if (!answer.groups.length) return (compared || ungrouped) && [h("p", { class: "empty" }, ungrouped || t("empty-errors")), compared].flat().filter(Boolean);
  if (ungrouped) panel.tell(h("span", null, ...ungrouped));
  if (answer.errors_5xx < answer.failures) panel.tell(t("errors-5xx", { n: number(answer.errors_5xx), all: number(answer.failures) }));
  return [groups(answer, panel, open, keyOf), compared].flat(2);
}

/** Before and after, side by side: the newest first. */
function deployments(rows, panel) {
  const both = (one, format) => [one.before, one.after].map((side) => (side ? format(side) : "–")).join(" → ");
  return [
    h("h3", null, t("deployments")),
    table({
      id: "deployments",
      label: t("deployments"),
      rows: rows.toReversed(),
      again: () => panel.show(),
      columns: [
        { key: "mark", title: "deployment", kind: "main", cell: (one) => ["▲ ", nameOf(one), door(around(one.time), moment(one.time, "short"), { look: "device" })] },
        { key: "traffic", title: "per-minute", kind: "number", cell: (one) => both(one, (side) => number(side.requests_per_minute, 1)) },
        { key: "rate", title: "error-rate", kind: "number", cell: (one) => both(one, (side) => (side.error_rate === null ? "–" : percent(side.error_rate, 1))) },
        { key: "p95", title: "p95", kind: "number", cell: (one) => both(one, (side) => duration(side.p95_ms)) },
        { key: "new", title: "new-errors", kind: "number", cell: (one) => number(one.new_errors) },
      ],
    }),
    h("p", { class: "panel-note" }, t("deployments-how")),
  ].flat();
}

function groups(answer, panel, open, keyOf) {
  return table({
    id: "errors",
    label: t("errors"),
    rows: answer.groups,
    again: () => panel.show(),
    columns: [
      { key: "what", title: "what-broke", kind: "main", cell: (one) => what(one, open) },
      { key: "state", title: "state", value: (one) => one.state, cell: (one) => h("span", { class: `state ${one.state}` }, t(`state-${one.state}`)) },
      { key: "requests", title: "metric-requests", kind: "number", value: (one) => one.requests, cell: failed },
      { key: "people", title: "people-hit", value: (one) => one.people, cell: (one) => [number(one.people), ...one.hit.slice(0, HIT_SHOWN).map((share) => filterButton(keyOf(share.name), share.name, "device"))] },
      { key: "version", title: "span-version", cell: (one) => one.versions.map((share) => share.name).join(", ") },
      { key: "seen", title: "last-seen", value: (one) => one.last_seen, cell: (one) => [h("span", { class: "nowrap" }, moment(one.last_seen, "short")), h("span", { class: "part" }, t("error-since", { time: moment(one.first_seen, "short") }))] },
    ],
  });
}

/** Leads to the requests that failed at the group's endpoint, where it has one. */
const failed = (one) =>
  one.endpoints.length === 1 ? door({ ...UNFILTERED, endpoint: one.endpoints[0].name, status: "5xx" }, number(one.requests), { title: pageName(one.endpoints[0].name), to: "requests" }) : number(one.requests);

function what(one, open) {
  const trace = one.traces[0]?.trace_id;
  const name = [h("strong", null, isException(one.type) ? one.type : t("failed")), " ", titleName(one.title)];
  return trace
    ? h("button", { type: "button", class: "link path", "data-key": `error-${one.id}`, "aria-haspopup": "dialog", onclick: () => open(trace) }, name)
    : h("span", null, name);
}
