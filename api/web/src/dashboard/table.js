// A table that scrolls sideways where it must, sorts by a click on a heading, and shows its first rows until asked for all.

import { h } from "../shared/dom.js";
import { number, t } from "../shared/words.js";

const ROWS_FIRST = 10;
const collator = new Intl.Collator();
/** What each table is sorted by, and whether all of it is shown: as long as the page is open. */
const views = new Map();

/**
 * `columns`: {key, title, cell(row), value?(row), kind?: "number" | "main"}; with `value` one can sort by it.
 * `total`: how many rows there are, where the answer has but the first of them. `again()` is called when the view changed.
 */
export function table({ id, label, columns, rows, total = rows.length, again }) {
  const view = views.get(id) ?? { key: null, down: true, all: false };
  const change = (next) => {
    views.set(id, { ...view, ...next });
    again();
  };
  const by = columns.find((column) => column.key === view.key);
  const sorted = by
    ? rows.toSorted((a, b) => (view.down ? -1 : 1) * compare(by.value(a), by.value(b)))
    : rows;
  const shown = view.all ? sorted : sorted.slice(0, ROWS_FIRST);
  const head = columns.map((column) => {
    const isBy = column === by;
    const content = column.value
      ? h("button", {
          type: "button",
          "data-key": `${id}-by-${column.key}`,
          onclick: () => change({ key: column.key, down: isBy ? !view.down : true }),
        }, t(column.title))
      : t(column.title);
    return h("th", { scope: "col", class: column.kind, "aria-sort": isBy ? (view.down ? "descending" : "ascending") : null }, content);
  });
  return [
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
      h("table", null,
        h("thead", null, h("tr", null, ...head)),
        h("tbody", null, ...shown.map((row) =>
          h("tr", null, ...columns.map((column) =>
            column.kind === "main"
              ? h("th", { scope: "row", class: "main" }, column.cell(row))
              : h("td", { class: column.kind }, column.cell(row)),
          )))))),
    rows.length > ROWS_FIRST
      ? h("button", { type: "button", class: "quiet more", "data-key": `${id}-all`, onclick: () => change({ all: !view.all }) },
          view.all ? t("show-fewer") : total > rows.length ? t("show-first", { n: number(rows.length), all: number(total) }) : t("show-all", { n: number(rows.length) }))
      : null,
  ];
}

function compare(a, b) {
  if (a === null || b === null) return (a === null ? -1 : 0) + (b === null ? 1 : 0);
  return typeof a === "string" ? -collator.compare(a, b) : a - b;
}
