// Who made a request in the last five minutes, and what they look at.

import { h } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { ago, number, t, tn } from "../../shared/words.js";

const SHOWN_MAX = 8;

export function active({ active_users: people, total_active: total, services_active: services }, _state, panel) {
  panel.note.textContent = services ? tn("services-too", services) : "";
  if (!total) return null;
  return [
    h("p", { class: "count" }, h("span", { class: "figure" }, number(total)), " ", tn("people-active", total)),
    h("ul", { class: "people" }, ...people.slice(0, SHOWN_MAX).map((one) =>
      h("li", null,
        h("span", { class: "who" }, one.email ?? one.device ?? one.address, one.email && one.device ? h("span", { class: "device" }, one.device) : null),
        h("span", { class: "where" }, pageName(one.current_page ?? "")),
        h("span", { class: "when" }, ago(one.last_seen_seconds))))),
    total > SHOWN_MAX ? h("p", { class: "panel-note" }, t("and-more", { n: number(total - SHOWN_MAX) })) : null,
  ];
}
