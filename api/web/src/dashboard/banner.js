// What stands above the numbers where they are not those of now, by the first row that fits:
//
// | the page, the store | says | offers |
// |---|---|---|
// | looks at the past | until when; a member's: and that it is theirs alone | back to now |
// | nothing in the period, nothing filtered | when the newest request was | to go there |
// | the newest request is older than STALE_S | how old it is | what to type |
// | is a member's | that it is theirs alone | |
//
// It stands at the foot of the window. A phone's has no room for that: there it is let go once somebody scrolls, and stays at
// the foot of the page. Both take the same place in the page, so nothing moves.

import { h, replace } from "../shared/dom.js";
import { ago, moment, t } from "../shared/words.js";
import { STALE_S } from "./panels/health.js";
import { endOf, hasFilters } from "./state.js";

export class Banner {
  /** `goTo(at)` makes the page look at a time, or at now. */
  constructor(goTo) {
    this.goTo = goTo;
    this.element = h("div", { class: "banner", hidden: true, role: "status" });
    addEventListener("scroll", () => this.element.classList.toggle("passed", scrollY > 0), { passive: true });
  }

  show(overview, state) {
    this.shown = [overview, state];
    this.say();
  }

  /** Says it in the language of now. */
  say() {
    if (!this.shown) return;
    const content = this.#content(...this.shown);
    this.element.hidden = content === null;
    replace(this.element, ...(content ?? []));
  }

  #content({ newest, totals, only, window: shown }, state) {
    const go = (at, text) => h("button", { type: "button", "data-key": "banner-go", onclick: () => this.goTo(at) }, text);
    if (endOf(state)) {
      const said = state.from ? t("banner-between", { from: moment(shown.from, "full"), to: moment(shown.to, "full") }) : t("banner-past", { time: moment(shown.to, "full") });
      return [only ? `${said} ${t("banner-own", { user: only })}` : said, go("", t("to-now"))];
    }
    if (!newest) return null; // `first_run.js` says so
    if (!totals.find((row) => row.metric === "requests").now && !hasFilters(state)) {
      const after = new Date(Date.parse(newest) + 1000).toISOString();
      return [t("banner-old", { time: moment(newest, "full") }), go(after, t("to-newest"))];
    }
    const age = (Date.now() - Date.parse(newest)) / 1000;
    // A member may just have been away.
    if (only) return [t("banner-own", { user: only })];
    return age > STALE_S ? [t("banner-stale", { ago: ago(age) }), h("code", null, "tailtrace doctor")] : null;
  }
}
