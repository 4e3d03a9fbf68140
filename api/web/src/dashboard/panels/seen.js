// Who saw a card: asked for when somebody wants to know, and once more whenever the panel is drawn anew.

import { h, replace } from "../../shared/dom.js";
import { CARD } from "../../shared/names.js";
import { t, tn } from "../../shared/words.js";
import { ask } from "../ask.js";
import { door } from "../filter_button.js";
import { endOf, parameters } from "../state.js";
import { when } from "../when.js";

const SHOWN_MAX = 20;
/** Cards that are open, each with who saw it as far as is known. */
const opened = new Map();

/** Adds up who looked at a card: each of its variants counts as an endpoint. */
async function seers({ card, variants }, state) {
  const endpoints = variants.length ? variants.map(({ variant }) => CARD + card + (variant === null ? "" : `#${variant}`)) : [CARD + card];
  const answers = await Promise.all(endpoints.map((endpoint) =>
    ask("/analytics/panels/people", parameters({ ...state, endpoint }), new AbortController().signal).then(({ users }) => users.map((one) => ({ ...one, endpoint })))));
  const people = new Map();
  for (const { user, kind, requests, last_seen: seen, devices, endpoint } of answers.flat()) {
    // Who saw several variants is led to the first of them.
    const before = people.get(user) ?? { user, views: 0, seen, endpoint, key: kind !== "user" && devices.includes(user) ? "device" : "user" };
    people.set(user, { ...before, views: before.views + requests, seen: seen > before.seen ? seen : before.seen });
  }
  return [...people.values()].sort((a, b) => b.views - a.views);
}

export function seenBy(row, state) {
  const list = h("ul", { class: "seen-by" });
  const details = h("details", { class: "seen" }, h("summary", { "data-key": `seen-${row.card}` }, t("seen-by")), list);
  const show = (people) => replace(list, ...people.slice(0, SHOWN_MAX).map((one) => line(one, state)),
    people.length > SHOWN_MAX ? h("li", null, t("and-more", { n: people.length - SHOWN_MAX })) : null);
  const find = async () => {
    const people = await seers(row, state).catch(() => null);
    if (!people || !opened.has(row.card)) return;
    opened.set(row.card, people);
    show(people);
  };
  details.addEventListener("toggle", () => {
    if (!details.open) opened.delete(row.card);
    else if (!opened.has(row.card)) {
      opened.set(row.card, []);
      find();
    }
  });
  if (opened.has(row.card)) {
    details.open = true;
    show(opened.get(row.card));
    find();
  }
  return details;
}

const line = ({ user, key, views, seen, endpoint }, state) =>
  h("li", null, door({ [key]: user, endpoint }, user, { look: "tag" }), h("span", null, `${tn("views", views)}, `, when(seen, endOf(state))));
