// What keeps the server from being ready: lines of a log that were lost, a log that cannot be read, and what mends it.
//
// It is what `/ready` says, to an admin alone: the server's own text, so in English, and shown as text.

import { h, replace } from "../shared/dom.js";
import { t } from "../shared/words.js";

const SHOWN_MAX = 4;

export class Problems {
  #found = [];
  /** What of the set-up works, `{log_seen: true, …}`; null: nobody says. */
  setup = null;

  constructor() {
    this.element = h("div", { class: "unready", hidden: true, role: "status" });
  }

  /** Asks; where nobody answers, the panels say so. */
  async refresh(signal) {
    const answer = await fetch("/ready", { signal, cache: "no-store" }).catch(() => null);
    const said = await answer?.json().catch(() => null);
    this.#found = said?.problems ?? [];
    this.setup = said?.setup ?? null;
    this.say();
  }

  /** Says it in the language of now. */
  say() {
    this.element.hidden = this.#found.length === 0;
    replace(this.element,
      h("strong", null, t("not-ready")),
      h("ul", { lang: "en" }, ...this.#found.slice(0, SHOWN_MAX).map((one) => h("li", null, one))));
  }
}
