// What fires now, and what was told last. Where there are no rules there is nothing to say.

import { h } from "../../shared/dom.js";
import { moment, t } from "../../shared/words.js";
import { door } from "../filter_button.js";
import { around, UNFILTERED } from "../state.js";

const SHOWN_MAX = 5;

export function alerts({ rules, active, events }, _state, panel) {
  panel.element.hidden = !rules.length && !events.length;
  if (!events.length) return null;
  const firing = new Set(active.map((one) => one.time));
  return h("ul", { class: "told" }, ...[...active, ...events.filter((one) => !firing.has(one.time))].slice(0, SHOWN_MAX).map((one) =>
    h("li", null,
      h("span", { class: `state ${firing.has(one.time) ? "new" : ""}` }, t(firing.has(one.time) ? "fires" : `told-${one.what}`)), " ",
      h("strong", null, one.rule), " ", one.text, " ",
      door({ ...UNFILTERED, ...around(one.time) }, moment(one.time, "short")))));
}
