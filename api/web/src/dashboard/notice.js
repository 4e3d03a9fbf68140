// What of the page's address was not understood, and what is shown instead. It is gone with the next address.

import { h, replace, rich } from "../shared/dom.js";
import { number, t } from "../shared/words.js";

const SHOWN_MAX = 4;
const LETTERS_MAX = 60;

export class Notice {
  /** `dismiss()` mends the address. */
  constructor({ dismiss }) {
    this.dismiss = dismiss;
    this.element = h("div", { class: "notice", hidden: true, role: "status" });
  }

  show(misread) {
    this.element.hidden = misread.length === 0;
    const more = misread.length - SHOWN_MAX;
    replace(this.element,
      h("div", null,
        h("strong", null, t("misread")),
        h("ul", null, ...misread.slice(0, SHOWN_MAX).map(line), more > 0 ? h("li", null, t("and-more", { n: number(more) })) : null)),
      h("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => this.dismiss() }, "✕"));
  }
}

const line = ({ key, value, why }) => h("li", null, h("code", null, short(value ? `${key}=${value}` : key)), " ", rich(t(why)));

const short = (text) => (text.length > LETTERS_MAX ? `${text.slice(0, LETTERS_MAX)}…` : text);
