// A word that explains itself in the page: a click, Enter or a touch shows how it is meant, Escape or a click elsewhere hides
// it. One box serves them all, beside the panels, so that none of it goes when a panel is drawn anew.

import { h } from "../shared/dom.js";

const GAP_PX = 6;
const box = h("div", { class: "hint", popover: "auto", role: "status" });
let from = null;

/** Gives the word; `how` is the explanation, `key` tells it from others of its panel. */
export const hinted = (word, how, look, key) =>
  h("button", {
    type: "button", class: `link ${look}`, "data-key": `hint-${key}`, onclick: ({ currentTarget }) => toggle(currentTarget, how),
  }, word);

function toggle(button, how) {
  const key = button.dataset.key;
  if (from === key && box.matches(":popover-open")) return box.hidePopover();
  from = key;
  if (!box.isConnected) document.body.append(box);
  box.textContent = how;
  box.showPopover();
  const place = button.getBoundingClientRect();
  box.style.top = `${Math.min(place.bottom + GAP_PX, innerHeight - box.offsetHeight - GAP_PX)}px`;
  box.style.left = `${Math.max(GAP_PX, Math.min(place.left, innerWidth - box.offsetWidth - GAP_PX))}px`;
}
addEventListener("scroll", () => box.matches(":popover-open") && box.hidePopover(), { passive: true });
