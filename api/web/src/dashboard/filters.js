// The bar of filters: period, names, status, end of the period. It writes nothing but the address (`change`).

import { h } from "../shared/dom.js";
import { moment, t } from "../shared/words.js";
import { FILTERS, hasFilters } from "./state.js";

const NAMES = { user: "users", device: "devices", endpoint: "endpoints" };

export class Filters {
  constructor({ change }) {
    this.change = change;
    this.lists = Object.fromEntries(Object.keys(NAMES).map((kind) => [kind, h("datalist", { id: `choices-${kind}` })]));
    this.element = h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() });
  }

  /** Offers names; what somebody types stays. */
  offer(choices) {
    for (const [kind, key] of Object.entries(NAMES)) {
      this.lists[kind].replaceChildren(...(choices[key] ?? []).map((value) => h("option", { value })));
    }
  }

  /** On a narrow screen the fields stay folded until asked for. */
  opener(state) {
    const button = h("button", { type: "button", class: "opener", "aria-expanded": String(this.element.classList.contains("open")) }, t("filters"));
    const count = FILTERS.filter((key) => state[key]).length;
    if (count) button.append(` (${count})`);
    button.addEventListener("click", () => {
      button.setAttribute("aria-expanded", String(this.element.classList.toggle("open")));
    });
    return button;
  }

  render(state) {
    this.element.setAttribute("aria-label", t("filters"));
    const field = (kind) => {
      const id = `filter-${kind}`;
      const input = h("input", { id, name: kind, type: "search", list: `choices-${kind}`, maxlength: 512, autocomplete: "off", spellcheck: "false", placeholder: t(`any-${kind}`) });
      input.value = state[kind];
      input.addEventListener("change", () => this.change({ [kind]: input.value.trim() }));
      return h("div", { class: `field${state[kind] ? " on" : ""}` }, h("label", { for: id }, t(kind)), input, this.lists[kind]);
    };
    const status = h("select", { id: "filter-status", onchange: (event) => this.change({ status: event.target.value }) },
      ...["", "2xx", "3xx", "4xx", "5xx"].map((value) => h("option", { value }, value || t("any-status"))));
    if (state.status && ![...status.options].some((one) => one.value === state.status)) status.append(h("option", { value: state.status }, state.status));
    status.value = state.status;
    const until = h("input", { id: "filter-at", type: "datetime-local" });
    if (state.at) until.value = localTime(state.at);
    until.addEventListener("change", () => this.change({ at: until.value ? new Date(until.value).toISOString() : "" }));
    this.element.replaceChildren(
      h("fieldset", { class: "segments" }, h("legend", { class: "sr" }, t("period")), ...["24h", "7d", "30d"].map((value) =>
        h("label", null,
          h("input", { id: `period-${value}`, type: "radio", name: "period", value, checked: state.period === value, onchange: () => this.change({ period: value }) }),
          h("span", null, t(`period-${value}`))))),
      this.opener(state),
      ...Object.keys(NAMES).map(field),
      h("div", { class: `field${state.status ? " on" : ""}` }, h("label", { for: "filter-status" }, t("status")), status),
      h("div", { class: `field${state.at ? " on" : ""}` }, h("label", { for: "filter-at" }, t("until")), until),
      ...(hasFilters(state) || state.at
        ? [h("button", { type: "button", class: "quiet clear", onclick: () => this.change({ at: "", ...Object.fromEntries(FILTERS.map((key) => [key, ""])) }) }, t("clear"))]
        : []),
    );
  }
}

/** Gives a time as `datetime-local` wants it: the browser's zone, without naming it. */
function localTime(iso) {
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export const untilText = (at) => moment(at, "full");
