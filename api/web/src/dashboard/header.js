// The head of the page: how the line to the server is, language, theme. Language and theme are kept by the browser.

import { replace, rich } from "../shared/dom.js";
import { pageName } from "../shared/names.js";
import { ago, moment, t } from "../shared/words.js";
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
  /** The time of the newest request, and of the numbers shown; ISO, or null. */
  newest = null;
  answeredAt = null;
  #line = "waiting";
  #isPast = false;
  #isPaused = false;

  /** `onLang(lang)` and `onTheme()` are called when somebody chose. */
  constructor({ onLang, onTheme }) {
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

  /** Says everything of the page's frame in the language of now. */
  say(state) {
    this.#isPast = Boolean(endOf(state));
    $("lang").value = root.lang;
    for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
    const narrowed = usersOf(state).join(", ") || state.device || pageName(state.endpoint) || state.service;
    document.title = narrowed ? `${narrowed} · tailtrace` : "tailtrace";
    this.show();
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
    const state = this.#isPast ? "paused" : this.#isPaused ? "held" : this.#line;
    $("live").dataset.state = state;
    const said = state === "live" && this.newest
      ? t("live-newest", { ago: ago((Date.now() - Date.parse(this.newest)) / 1000) })
      : t(`live-${state}`, { time: this.answeredAt ? moment(this.answeredAt, "time") : "–" });
    replace($("live-text"), said, state === "lost" ? [". ", ...rich(t("problem-away-do"))] : null);
  }
}
