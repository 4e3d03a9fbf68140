// Buttons that change what the page shows: main.js hears their event, `narrow`, with the state that changes.
// Unless it `stays`, the page goes to its head, where the numbers are, or `to` a part of it.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

export const narrow = (next, stays = false, to = null) => (event) =>
  event.currentTarget.dispatchEvent(new CustomEvent("narrow", { bubbles: true, detail: { next: { request: "", ...(typeof next === "function" ? next() : next) }, stays, to } }));

/** A name that, clicked, narrows the page to it. `kind` is one of the filters in the address, `text` what it is called here. */
export const filterButton = (kind, value, look = "name", text = value) =>
  h("button", {
    type: "button", class: `link ${look}`, title: t("filter-by", { name: text }), "data-key": `filter-${kind}-${value}`,
    onclick: narrow({ [kind]: value }),
  }, text);

/** A number or a word that leads to what is behind it: `next` is what of the state changes, or says so when it is clicked. */
export const door = (next, text, { title = t("look-at"), look = "", key, stays = false, to = null } = {}) =>
  h("button", { type: "button", class: `link ${look}`, title, "data-key": key ?? `door-${JSON.stringify(next)}`, onclick: narrow(next, stays, to) }, text);

/** The same for a part of the page. */
export const leap = (id, text) =>
  h("button", { type: "button", class: "link", "data-key": `leap-${id}`, title: t("look-at"), onclick: () => document.getElementById(id).scrollIntoView() }, text);

export const narrowing = (next, text) => h("button", { type: "button", onclick: narrow(next) }, text);
