// A table that scrolls sideways where it must, on a phone stands as a card for each row, sorts by a click on a heading, and shows its first rows until asked for more:
// then it scrolls within itself under its headings, a page at a time, and a name in it can be looked for.

import { h } from "../shared/dom.js";
import { number, t } from "../shared/words.js";

/** So many columns stand closer together. */
const MANY = 12;

/** On a phone, where a row is a card, fewer. */
const ROWS_FIRST = matchMedia("(max-width: 560px)").matches ? 5 : 10;
const ROWS_MORE = 50;
const collator = new Intl.Collator();
/** What each table is sorted by, and whether all of it is shown: as long as the page is open. */
const views = new Map();

/**
 * `columns`: {key, title, cell(row), value?(row), kind?: "number" | "main" | "one-line"}; with `value` one can sort by it.
 * `total`: how many rows there are, where the answer has but the first of them. `again()` is called when the view changed.
 */
export function table({ id, label, columns, rows, total = rows.length, again }) {
  const view = views.get(id) ?? { key: null, down: true, rows: ROWS_FIRST, sought: "" };
  const change = (next) => {
    views.set(id, { ...view, ...next });
    again();
  };
  const by = columns.find((column) => column.key === view.key);
  const sorted = by
    ? rows.toSorted((a, b) => (view.down ? -1 : 1) * compare(by.value(a), by.value(b)))
    : rows;
  const main = columns.find((column) => column.kind === "main");
  const part = view.sought.trim().toLowerCase();
  const found = part && main?.value ? sorted.filter((row) => String(main.value(row)).toLowerCase().includes(part)) : sorted;
  const shown = found.slice(0, view.rows);
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
  const isLong = view.rows > ROWS_FIRST;
  const left = found.length - shown.length;
  return [
    rows.length > ROWS_FIRST && main?.value ? search(id, label, view.sought, (sought) => change({ sought })) : null,
    h("div", { class: isLong ? "scroll long" : "scroll", tabindex: "0", role: "group", "aria-label": label },
      h("table", { class: columns.length < MANY ? "stack" : "stack many" },
        h("thead", null, h("tr", null, ...head)),
        h("tbody", null, ...shown.map((row) =>
          h("tr", null, ...columns.map((column) =>
            column.kind === "main"
              ? h("th", { scope: "row", class: "main" }, column.cell(row))
              : h("td", { class: column.kind, "data-label": t(column.title) }, column.cell(row)),
          )))))),
    part && !found.length ? h("p", { class: "empty" }, t("not-found", { name: view.sought })) : null,
    h("div", { class: "more-or-less" },
      left > 0 ? h("button", { type: "button", class: "quiet more", "data-key": `${id}-more`, onclick: () => change({ rows: view.rows + ROWS_MORE }) },
        t("show-more", { n: number(Math.min(left, ROWS_MORE)), all: number(part ? found.length : total) })) : null,
      isLong ? h("button", { type: "button", class: "quiet more", "data-key": `${id}-fewer`, onclick: () => change({ rows: ROWS_FIRST }) }, t("show-fewer")) : null),
  ];
}

/** A field for a part of a name in the first column. */
const search = (id, label, sought, change) =>
  h("input", {
    type: "search", class: "in-table", value: sought, maxlength: 512, autocomplete: "off", spellcheck: "false", "data-key": `${id}-search`,
    "aria-label": t("find-in", { name: label }), placeholder: t("find-in", { name: label }), oninput: ({ target }) => {
      const caret = target.selectionStart;
      change(target.value);
      document.activeElement.setSelectionRange?.(caret, caret); // it was drawn anew
    },
  });

function compare(a, b) {
  if (a === null || b === null) return (a === null ? -1 : 0) + (b === null ? 1 : 0);
  return typeof a === "string" ? -collator.compare(a, b) : a - b;
}
