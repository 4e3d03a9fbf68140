// Where time went, in three parts: the client and the network to it, the way from nginx to the app, the app itself.

import { h, sr } from "../shared/dom.js";
import { duration, t } from "../shared/words.js";

const PARTS = ["client", "proxy", "app"];
const lengthOf = (row, part) => row[`${part}_ms`];

export const saidParts = (row) => PARTS.map((part) => `${t(`part-${part}`)} ${duration(lengthOf(row, part))}`).join(", ");

/** A bar of the three; `title` says what it is of. Who does not see it is read the numbers. */
export function partsBar(row, title = saidParts(row)) {
  const whole = PARTS.reduce((sum, part) => sum + lengthOf(row, part), 0) || 1;
  return h("div", { class: "phases", title }, sr(title), ...PARTS.map((part) => {
    const bar = h("i", { class: part });
    bar.style.setProperty("--share", lengthOf(row, part) / whole);
    return bar;
  }));
}

/** The same with its numbers below. */
export const partsWhole = (row) => [
  partsBar(row),
  h("dl", { class: "phase-names" }, ...PARTS.map((part) => h("div", { class: part }, h("dt", null, t(`part-${part}`)), h("dd", null, duration(lengthOf(row, part)))))),
];
