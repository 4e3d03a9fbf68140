// The bar of filters: period, names, status, end of the period. It writes nothing but the address (`change`).
//
// Its fields stay the same while the page changes, so that whoever types goes on typing; another language makes them anew.

import { h, replace } from "../shared/dom.js";
import { pageName } from "../shared/names.js";
import { duration, t } from "../shared/words.js";
import { instant, wall } from "../shared/zone.js";
import { chips } from "./chips.js";
import { endOf, FILTERS, hasFilters, LOG_FILTERS, NOW, PERIODS, UNFILTERED, withUser } from "./state.js";

const NAMES = { user: "users", device: "devices", endpoint: "endpoints", service: "services" };
const METHODS = ["", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const SLOWER = ["", "100", "300", "1000", "3000", "10000"];
const STATUSES = ["", "2xx", "3xx", "4xx", "499", "5xx"];
/** After the last key in the field of a time: half a year is no time that somebody asked for. */
const TYPING_MS = 1200;

export class Filters {
  #lang = null;
  #state = null;
  #offered = null;

  /** `choices` gives the names to choose from, of a state. */
  constructor({ change, choices }) {
    Object.assign(this, { change, choices });
    this.lists = Object.fromEntries(Object.keys(NAMES).map((kind) => [kind, h("datalist", { id: `choices-${kind}` })]));
    this.element = h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() });
    // Who points at a field is about to go there.
    for (const event of ["focusin", "pointerover"]) this.element.addEventListener(event, ({ target }) => target.list && this.#offerNames().catch(() => {})); // any can still be typed
  }

  /** Offers names; what somebody types stays. */
  async #offerNames() {
    const choices = await this.choices.of(this.#state);
    if (choices === this.#offered) return;
    this.#offered = choices;
    for (const [kind, key] of Object.entries(NAMES)) {
      this.lists[kind].replaceChildren(...choices[key].map((value) => h("option", kind === "endpoint" ? { value, label: pageName(value) } : { value })));
    }
  }

  render(state, lang) {
    this.#state = state;
    if (this.#lang !== lang) this.#build();
    this.#lang = lang;
    for (const kind of Object.keys(NAMES)) this.#fill(this.fields[kind], kind === "user" ? "" : state[kind]);
    this.#fill(this.path, state.path);
    for (const [period, input] of Object.entries(this.periods)) input.checked = !state.from && period === state.period;
    this.#offer(this.status, STATUSES, state.status, t("any-status"), (value) => value);
    this.#offer(this.method, METHODS, state.method, t("any-status"), (value) => value);
    this.#offer(this.slower, SLOWER, state.slower, t("any-time"), (value) => duration(Number(value)));
    const shown = chips(state, this.change);
    this.chips.hidden = shown.length === 0;
    replace(this.chips, ...shown);
    this.#fill(this.since, state.from && wall(state.from));
    this.#fill(this.until, endOf(state) && wall(endOf(state)));
    const count = [...FILTERS, ...LOG_FILTERS].filter((key) => state[key]).length;
    this.opener.textContent = count ? `${t("filters")} (${count})` : t("filters");
    this.clear.hidden = !hasFilters(state) && !state.from && !endOf(state);
  }

  clearAll() {
    this.change({ ...NOW, ...UNFILTERED });
  }

  focus() {
    this.element.classList.add("open");
    this.fields.user.focus();
  }

  #fill(input, value) {
    if (input.value !== value) input.value = value;
    input.parentElement.classList.toggle("on", Boolean(value));
  }

  /** A value that is not offered, such as a code by itself, is chosen by the address or a click elsewhere. */
  #offer(select, values, chosen, any, said) {
    const offered = [...new Set([...values, chosen])];
    if (String(offered) !== String([...select.options].map(({ value }) => value))) {
      select.replaceChildren(...offered.map((value) => h("option", { value }, value ? said(value) : any)));
    }
    this.#fill(select, chosen);
  }

  #build() {
    this.element.setAttribute("aria-label", t("filters"));
    const field = (label, id, input, list = null) => h("div", { class: "field" }, h("label", { for: id }, t(label)), input, list);
    this.fields = Object.fromEntries(Object.keys(NAMES).map((kind) => [kind, this.#name(kind)]));
    this.periods = Object.fromEntries(PERIODS.map((value) =>
      [value, h("input", { id: `period-${value}`, type: "radio", name: "period", value, onchange: () => this.change({ ...NOW, at: endOf(this.#state), period: value }) })]));
    [this.status, this.method, this.slower] = ["status", "method", "slower"].map((key) =>
      h("select", { id: `filter-${key}`, onchange: (event) => this.change({ [key]: event.target.value }) }));
    this.path = h("input", { id: "filter-path", type: "search", maxlength: 512, autocomplete: "off", spellcheck: "false", placeholder: t("part-of-path") });
    for (const event of ["change", "search"]) this.path.addEventListener(event, () => this.change({ path: this.path.value.trim() }));
    this.chips = h("ul", { class: "chips", "aria-label": t("filters") });
    this.since = this.#time("filter-from", () => this.#state.from, (from) => ({ ...NOW, from, to: endOf(this.#state) }));
    this.until = this.#time("filter-at", () => endOf(this.#state), (end) => (this.#state.from ? { at: "", to: end } : { ...NOW, at: end }));
    // On a narrow screen the fields stay folded until asked for.
    this.opener = h("button", { type: "button", class: "opener", "aria-expanded": String(this.element.classList.contains("open")) });
    this.opener.addEventListener("click", () => {
      this.opener.setAttribute("aria-expanded", String(this.element.classList.toggle("open")));
    });
    this.clear = h("button", { type: "button", class: "quiet clear", onclick: () => this.clearAll() }, t("clear"));
    this.element.replaceChildren(
      h("fieldset", { class: "segments" }, h("legend", { class: "sr" }, t("period")),
        ...PERIODS.map((value) => h("label", null, this.periods[value], h("span", null, t(`period-${value}`))))),
      this.opener,
      field("since", "filter-from", this.since),
      field("until", "filter-at", this.until),
      h("div", { class: "fields" },
        ...Object.keys(NAMES).map((kind) => field(kind, `filter-${kind}`, this.fields[kind], this.lists[kind])),
        field("status", "filter-status", this.status),
        field("method", "filter-method", this.method),
        field("path", "filter-path", this.path),
        field("slower", "filter-slower", this.slower)),
      h("div", { class: "in-force" }, this.chips, this.clear),
    );
  }

  #name(kind) {
    const input = h("input", {
      id: `filter-${kind}`, name: kind, type: "search", list: `choices-${kind}`, maxlength: 512, autocomplete: "off",
      spellcheck: "false", placeholder: t(`any-${kind}`),
    });
    // `search` comes of the cross in the field, which empties it.
    const choose = async () => {
      const value = await this.#meant(kind, input.value.trim());
      if (kind !== "user") this.change({ [kind]: value });
      else if (value) this.change({ user: withUser(this.#state.user, value) });
    };
    for (const event of ["change", "search"]) input.addEventListener(event, choose);
    return input;
  }

  /** A part of a name is enough: of those that are offered, the first that has it, which is used most. */
  async #meant(kind, typed) {
    if (!typed) return typed;
    const names = (await this.choices.of(this.#state).catch(() => ({})))[NAMES[kind]] ?? [];
    const part = typed.toLowerCase();
    return names.includes(typed) ? typed : (names.find((name) => name.toLowerCase().includes(part)) ?? typed);
  }

  /** A browser tells of each digit of a year: what is typed counts after a pause, with Enter, or when the field is left. */
  #time(id, shown, chosen) {
    const input = h("input", { id, type: "datetime-local", min: "1970-01-02T00:00", max: "9999-12-30T00:00" });
    let waiting = 0;
    const settle = () => {
      clearTimeout(waiting);
      if (!input.validity.valid || input.value === (shown() && wall(shown()))) return;
      const next = { ...this.#state, ...chosen(input.value && instant(input.value)) };
      // Of two times that are no window, the one that was typed last stays.
      if (next.from && next.from >= (next.to || new Date().toISOString())) Object.assign(next, id === "filter-from" ? { to: "" } : { ...NOW, at: next.to });
      this.change({ at: next.at || (next.from ? "" : next.to), from: next.from, to: next.from && next.to });
    };
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(settle, TYPING_MS);
    });
    input.addEventListener("blur", settle);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") settle();
    });
    return input;
  }
}
