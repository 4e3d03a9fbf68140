// What broke, in groups: new ones and those that are back first. A group opens its newest request.

import { h } from "../../shared/dom.js";
import { moment, number, t } from "../../shared/words.js";
import { table } from "../table.js";

const MARKS_SHOWN = 3;

/** `open(traceId)` shows a request. */
export function errors(answer, _state, panel, { open }) {
  if (!answer) return h("p", { class: "empty" }, t("errors-not-kept"));
  for (const { time, service, text } of answer.markers.slice(-MARKS_SHOWN)) {
    panel.tell(h("span", { class: "mark" }, "▲ ", [service, text].filter(Boolean).join(" "), ", ", moment(time, "short")));
  }
  if (!answer.groups.length) return null;
  return table({
    id: "errors",
    label: t("errors"),
    rows: answer.groups,
    again: () => panel.show(),
    columns: [
      { key: "what", title: "what-broke", kind: "main", cell: (one) => what(one, open) },
      { key: "state", title: "state", value: (one) => one.state, cell: (one) => h("span", { class: `state ${one.state}` }, t(`state-${one.state}`)) },
      { key: "requests", title: "metric-requests", kind: "number", value: (one) => one.requests, cell: (one) => number(one.requests) },
      { key: "people", title: "people-hit", kind: "number", value: (one) => one.people, cell: (one) => h("span", { title: one.hit.map((share) => share.name).join(", ") }, number(one.people)) },
      { key: "version", title: "span-version", cell: (one) => one.versions.map((share) => share.name).join(", ") },
      { key: "seen", title: "last-seen", value: (one) => one.last_seen, cell: (one) => [moment(one.last_seen, "short"), h("span", { class: "device" }, t("error-since", { time: moment(one.first_seen, "short") }))] },
    ],
  });
}

function what(one, open) {
  const trace = one.traces[0]?.trace_id;
  const name = [h("strong", null, one.type ?? t("failed")), " ", one.title];
  return trace
    ? h("button", { type: "button", class: "link path", "data-key": `error-${one.id}`, "aria-haspopup": "dialog", onclick: () => open(trace) }, name)
    : h("span", null, name);
}
