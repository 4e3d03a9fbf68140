// Buttons that change what the page shows: main.js hears their event, `narrow`, with the state that changes.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

const narrow = (next) => (event) => event.currentTarget.dispatchEvent(new CustomEvent("narrow", { bubbles: true, detail: next }));

/** A name that, clicked, narrows the page to it. `kind` is one of the filters in the address, `text` what it is called here. */
export const filterButton = (kind, value, look = "name", text = value) =>
  h("button", {
    type: "button", class: `link ${look}`, title: t("filter-by", { name: text }), "data-key": `filter-${kind}-${value}`,
    onclick: narrow({ [kind]: value }),
  }, text);

export const narrowing = (next, text) => h("button", { type: "button", onclick: narrow(next) }, text);
