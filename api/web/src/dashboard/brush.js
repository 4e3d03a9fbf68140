// Choosing a part of a chart's time: by dragging over it, or by a click on one step. The table below does it by keyboard.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

/** Less is a click. */
const DRAG_PX = 5;

/** Gives begin and end of each step, ISO; the last one ends at `end`. */
export const spansOf = (begins, end) => begins.map((from, place) => [from, begins[place + 1] ?? end]);

/** Looks at the time from the first of these spans to the last. */
export function zoom([from], [, to]) {
  if (from < to) document.dispatchEvent(new CustomEvent("narrow", { detail: { next: { from, to, at: "" }, stays: true } }));
}

/** Lets people drag over `host`; `placeOf(x)` gives the number of the step at so many pixels from its left. */
export function brush(host, placeOf, spans) {
  const mark = h("div", { class: "brush", hidden: true });
  let start = null;
  const stop = () => {
    start = null;
    mark.hidden = true;
  };
  const leftOf = (event) => event.clientX - host.getBoundingClientRect().left;
  host.append(mark);
  host.classList.add("can-zoom");
  host.title = t("zoom-how");
  host.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    start = leftOf(event);
    host.setPointerCapture(event.pointerId);
  });
  host.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const now = leftOf(event);
    mark.hidden = Math.abs(now - start) < DRAG_PX;
    mark.style.setProperty("--left", `${Math.min(start, now)}px`);
    mark.style.setProperty("--width", `${Math.abs(now - start)}px`);
  });
  host.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [first, last] = [placeOf(start), placeOf(leftOf(event))].sort((a, b) => a - b);
    stop();
    zoom(spans[first], spans[last]);
  });
  host.addEventListener("pointercancel", stop);
}
