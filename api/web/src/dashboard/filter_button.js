// A name that, clicked, narrows the page to it.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

/** `kind` is one of the filters in the address; main.js hears the event. */
export const filterButton = (kind, value, look = "name") =>
  h("button", {
    type: "button", class: `link ${look}`, title: t("filter-by", { name: value }), "data-key": `filter-${kind}-${value}`,
    onclick: (event) => event.currentTarget.dispatchEvent(new CustomEvent("narrow", { bubbles: true, detail: { [kind]: value } })),
  }, value);
