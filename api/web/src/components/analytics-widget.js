// <tailtrace-widget>: a card for a page elsewhere, "📊 Analytics Última Semana".
//
// | attribute | is | else |
// |---|---|---|
// | lang | `en` or `es` | the page's language |
// | days | 1 to 30, today the last | 7 |
// | service | one of several apps behind one nginx, by its name there | all of them |
// | refresh | seconds between two questions, 10 at least; 0 asks once | 60 |
// | api | where tailtrace is | where this script came from |
// | theme | `light`, `dark`, or `auto` for the system's | the page's own color-scheme |
//
// Each attribute is a property too, since a framework (React 19, Vue) sets those that an element has; null takes it away.
//
// | it asks and | it shows | it asks again |
// |---|---|---|
// | is answered | the numbers | after `refresh` |
// | is not, and has numbers | them, marked as old, and why | after 5 s, then 10, 20 … 300 |
// | is not, and has none | why, and what to do | likewise |
// | the page is in the background | what it shows | when it is back |
//
// It holds under any Content-Security-Policy that lets this script load and the API be asked: its style is a
// constructed sheet, no HTML is made from text, and it sends no cookie. Names are untrusted, and only text.

import { h } from "../shared/dom.js";
import "./card-views.js";
import css from "./widget.css";
import { speak } from "./words.js";

export { assignVariant, countAgain, watchCards } from "./card-views.js";

const HOME = new URL("../../../", import.meta.url);
const ANSWER_MS_MAX = 15_000;
const RETRY_S = 5;
const RETRY_S_MAX = 300;
const REFRESH_S = 60;
const REFRESH_S_MIN = 10;
const DAYS_MAX = 30;
/** With more days than this the columns are too thin for a number and a name each. */
const LABELLED_MAX = 10;

const sheet = new CSSStyleSheet();
sheet.replaceSync(css);

/** Why there are no numbers: a key of the words, with a hint or without. */
class Trouble extends Error {
  constructor(key, values = {}, hint = "") {
    super(key);
    Object.assign(this, { key, values, hint });
  }
}

const whole = (text, usual, least, most) => {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : usual;
  return Math.min(most, Math.max(least, value));
};

const PROPERTIES = ["days", "service", "refresh", "api", "theme"];

class TailtraceWidget extends HTMLElement {
  static observedAttributes = ["lang", "days", "service", "refresh", "api"];

  #root = this.attachShadow({ mode: "open" });
  #answer = null;
  #at = null;
  #trouble = null;
  #failures = 0;
  #timer = 0;
  #asking = null;
  #isHere = false;
  #wake = () => document.hidden || this.#ask();

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
  }

  connectedCallback() {
    // What was set before this script came hides the properties of the class.
    for (const name of PROPERTIES.filter((one) => Object.hasOwn(this, one))) {
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    document.addEventListener("visibilitychange", this.#wake);
    addEventListener("online", this.#wake);
    this.#isHere = true; // what it had before is asked for once
    this.#show();
    this.#ask();
  }

  disconnectedCallback() {
    this.#isHere = false;
    document.removeEventListener("visibilitychange", this.#wake);
    removeEventListener("online", this.#wake);
    clearTimeout(this.#timer);
    this.#asking?.abort();
  }

  attributeChangedCallback(name, before, now) {
    if (!this.#isHere || before === now) return;
    if (["days", "service", "api"].includes(name)) {
      this.#answer = this.#trouble = null;
      this.#failures = 0;
    }
    this.#show();
    if (name !== "lang") this.#ask();
  }

  get #days() {
    return whole(this.getAttribute("days"), 7, 1, DAYS_MAX);
  }

  get #query() {
    const service = this.getAttribute("service");
    return new URLSearchParams({ days: this.#days, ...(service !== null && { service }) });
  }

  get #api() {
    const given = this.getAttribute("api");
    try {
      return given ? new URL(given.endsWith("/") ? given : `${given}/`, document.baseURI) : HOME;
    } catch {
      return HOME;
    }
  }

  async #ask() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    try {
      this.#answer = await this.#load(asking.signal);
      [this.#at, this.#trouble, this.#failures] = [new Date(), null, 0];
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#trouble = error instanceof Trouble ? error : new Trouble("wrong", { api: this.#api.href });
      this.#failures += 1;
    }
    if (asking.signal.aborted) return;
    const refresh = this.getAttribute("refresh");
    const retry = Math.min(RETRY_S_MAX, RETRY_S * 2 ** (this.#failures - 1));
    const next = this.#trouble ? retry : refresh?.trim() === "0" ? 0 : whole(refresh, REFRESH_S, REFRESH_S_MIN, 86_400);
    if (this.#trouble) this.#trouble.values.s = next;
    this.#show();
    // A tenth more or less, so that many pages do not come back in the same moment.
    if (next) this.#timer = setTimeout(this.#wake, next * 1000 * (0.9 + Math.random() / 5));
  }

  async #load(signal) {
    const api = this.#api;
    const within = () => AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    const plain = { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" };
    let response;
    try {
      response = await fetch(new URL(`analytics/widget?${this.#query}`, api), { ...plain, signal: within() });
    } catch {
      // A browser does not tell "nobody there" from "you may not read it": a script, which any page may read, tells.
      const isThere = api.origin !== location.origin
        && (await fetch(new URL("static/js/components/card-views.js", api), { ...plain, signal: within() }).then(({ ok }) => ok, () => false));
      throw isThere ? new Trouble("origin", { origin: location.origin }, "origin-hint") : new Trouble("away", { api: api.href }, "away-hint");
    }
    if (response.status === 401 || response.status === 403) throw new Trouble("forbidden");
    if (!response.ok) throw new Trouble("failed", { status: response.status });
    const answer = await response.json();
    if (!Array.isArray(answer.by_day) || !Array.isArray(answer.top_features)) throw new Error("no answer of ours");
    return answer;
  }

  #show() {
    const page = this.closest("[lang]")?.lang || document.documentElement.lang;
    const words = speak(this.getAttribute("lang"), page);
    const { t } = words;
    const days = this.#days;
    const title = days === 7 ? t("title") : t("title-days", { n: days });
    const hadFocus = this.#root.activeElement !== null;
    this.#root.replaceChildren(
      h("section", { lang: words.lang, "aria-labelledby": "title", "aria-busy": !this.#answer && !this.#trouble && "true" },
        h("h2", { id: "title" }, h("span", { "aria-hidden": "true" }, "📊 "), title),
        this.#answer ? numbers(this.#answer, words) : this.#trouble ? this.#problem(words) : waiting(words),
        h("footer", { class: this.#answer && this.#trouble && "stale" },
          h("span", { role: "status" }, this.#status(words)),
          this.#trouble && h("button", { type: "button", onclick: () => this.#ask() }, t("again")))),
    );
    if (hadFocus) this.#root.querySelector("button")?.focus({ preventScroll: true });
  }

  #status({ t, time }) {
    if (!this.#answer) return "";
    const at = time(this.#at);
    return this.#trouble ? t("stale", { time: at, problem: t(this.#trouble.key, this.#trouble.values) }) : t("updated", { time: at });
  }

  #problem({ t }) {
    const { key, hint, values } = this.#trouble;
    return h("div", { class: "note", role: "alert" }, h("strong", null, t(key, values)), hint && h("p", null, t(hint, values)));
  }
}

for (const name of PROPERTIES) {
  Object.defineProperty(TailtraceWidget.prototype, name, {
    get() {
      return this.getAttribute(name);
    },
    set(value) {
      if (value === null || value === undefined) this.removeAttribute(name);
      else this.setAttribute(name, value);
    },
  });
}

const waiting = ({ t }) => h("div", { class: "wait" }, h("span", { class: "sr" }, t("loading")));

function numbers(answer, words) {
  const { t, number } = words;
  if (!answer.total_requests) return h("div", { class: "note" }, h("p", null, t("empty")));
  const figure = (name, count) => h("div", null, h("dt", null, t(name, { n: count })), h("dd", null, number(count)));
  return [
    h("dl", null, figure("sessions", answer.total_sessions), figure("users", answer.unique_users)),
    h("div", { class: "head" }, h("h3", null, t("by-day")), h("span", null, t("accesses", { n: answer.total_requests }), answer.by_day_in_part?.length > 0 && h("small", { class: "part" }, h("i"), t("in-part")))),
    chart(answer, words),
    table(answer, words),
    answer.top_features.length > 0 && [h("h3", null, t("features")), features(answer.top_features, words)],
  ];
}

const LONG = { weekday: "long", day: "numeric", month: "long" };

/** Makes the columns, for the eye; `table` says the same in words. */
function chart({ by_day: days, by_day_in_part: inPart = [] }, { t, day, short }) {
  const most = Math.max(1, ...days.map((one) => one.requests));
  const isMany = days.length > LABELLED_MAX;
  const every = Math.ceil(days.length / 5);
  return h("div", { class: isMany ? "bars many" : "bars", "aria-hidden": "true" },
    days.map(({ day: iso, requests }, place) => {
      const bar = h("i");
      bar.style.height = `${Math.round((72 * requests) / most)}px`;
      const isNamed = !isMany || (days.length - 1 - place) % every === 0;
      const cut = inPart.includes(place);
      return h("div", { class: cut && "part", title: `${day(iso, LONG)}: ${t("accesses", { n: requests })}${cut ? ` (${t("in-part")})` : ""}` },
        !isMany && h("b", null, short(requests)),
        bar,
        h("small", null, isNamed ? day(iso, isMany ? { day: "numeric" } : { weekday: "short" }) : ""));
    }));
}

function table({ by_day: days, by_day_in_part: inPart = [] }, { t, day, number }) {
  // A table itself would be as wide as its words, and what it stands in would scroll.
  return h("div", { class: "sr" }, h("table", null,
    h("caption", null, t("by-day")),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, t("day")), h("th", { scope: "col" }, t("requests")))),
    h("tbody", null, days.map(({ day: iso, requests }, place) =>
      h("tr", null, h("th", { scope: "row" }, day(iso, LONG), inPart.includes(place) && ` (${t("in-part")})`), h("td", null, number(requests)))))));
}

function features(rows, { t }) {
  const most = Math.max(1, ...rows.map((row) => row.requests));
  return h("ol", null, rows.map(({ feature, requests }) => {
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.width = `${(100 * requests) / most}%`;
    return h("li", { title: feature }, bar, h("span", null, feature), h("em", null, `(${t("accesses", { n: requests })})`));
  }));
}

if (!customElements.get("tailtrace-widget")) customElements.define("tailtrace-widget", TailtraceWidget);
