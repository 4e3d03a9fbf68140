// Who made a request in the last five minutes, and what they look at. Of the past there is no now: the panel says so.

import { h } from "../../shared/dom.js";
import { lookedAt, pageName } from "../../shared/names.js";
import { ago, number, t, tn } from "../../shared/words.js";
import { ask } from "../ask.js";
import { door, filterButton, narrowing } from "../filter_button.js";
import { endOf, NOW } from "../state.js";

const SHOWN_MAX = 8;

export const loadActive = (state, signal) => (endOf(state) ? Promise.resolve({ isPast: true }) : ask("/analytics/active-users", null, signal));

export function active(answer, _state, panel) {
  if (answer.isPast) return [h("p", { class: "empty" }, t("active-past")), narrowing(NOW, t("to-now"))];
  const { active_users: people, total_active: total, services_active: services } = answer;
  // Named ones are all listed, however many others there are.
  const named = people.filter((one) => one.email).length;
  panel.tell(total > named && tn("nameless-too", total - named), services && tn("services-too", services));
  if (!total) return null;
  return [
    h("p", { class: "count" }, h("span", { class: "figure" }, number(named)), " ", tn("people-active", named)),
    h("ul", { class: "people" }, ...people.slice(0, SHOWN_MAX).map((one) =>
      h("li", null,
        h("span", { class: "who" }, filterButton(!one.email && one.device ? "device" : "user", one.email ?? one.device ?? one.address), one.email && one.device ? h("span", { class: "device" }, one.device) : null),
        h("span", { class: "where" }, one.current_page && door({ endpoint: lookedAt(one.current_page) }, pageName(one.current_page))),
        h("span", { class: "when" }, ago(one.last_seen_seconds))))),
    total > SHOWN_MAX ? h("p", { class: "panel-note" }, t("and-more", { n: number(total - SHOWN_MAX) })) : null,
  ];
}
