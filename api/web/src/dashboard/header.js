// The head of the page: how the line to the server is, language, time zone, theme. What is chosen is kept by the browser.

import { h, replace, rich } from "../shared/dom.js";
import { pageName } from "../shared/names.js";
import { ago, moment, t } from "../shared/words.js";
import { browserZone, chooseZone, zone } from "../shared/zone.js";
import { STALE_S } from "./panels/health.js";
import { endOf, usersOf } from "./state.js";

const REFRESH_MS = 5000;
const root = document.documentElement;
const $ = (id) => document.getElementById(id);

export function stored(key) {
  try {
    return localStorage.getItem(`tailtrace-${key}`) ?? "";
  } catch {
    return ""; // no storage here
  }
}

function store(key, value) {
  try {
    localStorage.setItem(`tailtrace-${key}`, value);
  } catch {
    // It lasts as long as the page, then.
  }
}

export class Header {
  /** The time of the newest request, ISO; null: there is none; undefined: nobody has told yet. */
  newest;
  /** The time of the numbers shown, ISO, or null. */
  answeredAt = null;
  #line = "waiting";
  #isPast = false;
  #isPaused = false;

  /** `onLang(lang)`, `onZone()` and `onTheme()` are called when somebody chose. */
  constructor({ onLang, onZone, onTheme }) {
    $("zone").addEventListener("change", ({ target }) => {
      store("zone", target.value);
      chooseZone(target.value || root.dataset.zone);
      onZone();
    });
    $("lang").addEventListener("change", ({ target }) => {
      store("lang", target.value);
      onLang(target.value);
    });
    $("theme").value = root.dataset.theme ?? "";
    $("theme").addEventListener("change", ({ target }) => {
      store("theme", target.value);
      if (target.value) root.dataset.theme = target.value;
      else delete root.dataset.theme;
      onTheme();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onTheme);
    setInterval(() => this.show(), REFRESH_MS);
  }

  /** Says everything of the page's frame in the language of now, or what changes with the state, where it `isKnown` otherwise. */
  say(state, { isKnown = false } = {}) {
    this.#isPast = Boolean(endOf(state));
    if (!isKnown) {
      $("lang").value = root.lang;
      for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
      this.#offerZones();
    }
    const narrowed = usersOf(state).join(", ") || state.device || pageName(state.endpoint) || state.service;
    document.title = narrowed ? `${narrowed} · tailtrace` : "tailtrace";
    this.show();
  }

  /** The server's zone is the first; who is in it has no other. */
  #offerZones() {
    const zones = { "": root.dataset.zone, ...(browserZone !== root.dataset.zone && { [browserZone]: browserZone }) };
    $("zone").replaceChildren(...Object.entries(zones).map(([value, name]) => h("option", { value }, t(value ? "zone-browser" : "zone-server", { zone: name }))));
    $("zone").value = zone() === root.dataset.zone ? "" : browserZone;
  }

  /** Takes the state of the line, as `live.js` has it. */
  set line([state, detail = ""]) {
    this.#line = state;
    $("live").title = detail;
    this.show();
  }

  /** Says whether somebody holds the numbers still. */
  set paused(isPaused) {
    this.#isPaused = isPaused;
    $("pause").setAttribute("aria-pressed", String(isPaused));
    this.show();
  }

  show() {
    const age = this.newest ? (Date.now() - Date.parse(this.newest)) / 1000 : 0;
    const line = this.#line === "live" && age > STALE_S ? "stale" : this.#line;
    const state = this.#isPast ? "paused" : this.#isPaused ? "held" : line;
    $("live").dataset.state = state;
    const said = (state === "live" || state === "stale") && this.newest
      ? t(state === "live" ? "live-newest" : "live-stale", { ago: ago(age) })
      : t(`live-${state}`, { time: this.answeredAt ? moment(this.answeredAt, "time") : "–" });
    replace($("live-text"), said, state === "lost" ? [". ", ...rich(t("problem-away-do"))] : null);
  }
}
