// Buttons that change what the page shows: main.js hears their event, `narrow`, with the state that changes.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

const narrow = (next) => (event) => event.currentTarget.dispatchEvent(new CustomEvent("narrow", { bubbles: true, detail: next }));

/** A name that, clicked, narrows the page to it. `kind` is one of the filters in the address. */
export const filterButton = (kind, value, look = "name") =>
  h("button", {
    type: "button", class: `link ${look}`, title: t("filter-by", { name: value }), "data-key": `filter-${kind}-${value}`,
    onclick: narrow({ [kind]: value }),
  }, value);

export const narrowing = (next, text) => h("button", { type: "button", onclick: narrow(next) }, text);
