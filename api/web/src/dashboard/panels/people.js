// Who used what: a row for each person, and the cards that were looked at.

import { h } from "../../shared/dom.js";
import { CARD, pageName } from "../../shared/names.js";
import { hours, number, percent, t, tn } from "../../shared/words.js";
import { table } from "../table.js";
import { door, filterButton } from "../filter_button.js";
import { of } from "../of.js";
import { seenBy } from "./seen.js";
import { endOf } from "../state.js";
import { when } from "../when.js";

export function users({ users: rows, sessions_of_all: isOfAll, truncated }, state, panel) {
  if (!rows.length) return null;
  panel.tell(
    of("usage", "users"),
    rows.some((row) => !isUser(row)) && t("users-and-others"),
    rows.some((row) => row.devices.length > 1) && t("time-of-devices"),
    isOfAll && t("sessions-of-all"));
  return table({
    id: "users",
    label: t("users"),
    rows,
    total: truncated?.users,
    again: () => panel.show(),
    columns: [
      { key: "user", title: "identity", kind: "main", value: (row) => row.user, cell: who },
      { key: "sessions", title: "metric-sessions", kind: "number", value: (row) => row.sessions, cell: (row) => toTrail(row, number(row.sessions)) },
      { key: "time", title: "time-spent", kind: "number", value: (row) => row.total_time_hours, cell: (row) => hours(row.total_time_hours) },
      { key: "requests", title: "metric-requests", kind: "number", value: (row) => row.requests, cell: (row) => toRequests(row, number(row.requests)) },
      { key: "errors", title: "metric-errors", kind: "number", value: (row) => row.errors, cell: (row) => row.errors && isNamed(row) ? h("span", { class: "bad" }, door({ user: row.user, status: "5xx" }, number(row.errors))) : h("span", { class: row.errors ? "bad" : "none" }, number(row.errors)) },
      { key: "features", title: "favourites", kind: "list", cell: (row) => row.favorite_features.map((name, place) => door({ [nameKey(row)]: row.user, endpoint: row.favorite_endpoints[place] }, pageName(name), { look: "tag", title: pageName(name), key: `favourite-${place}-of-${row.user}`, to: "requests" })) },
      { key: "devices", title: "devices", kind: "list", cell: (row) => row.devices.map((name) => filterButton("device", name, "tag")) },
      { key: "seen", title: "last-seen", kind: "number", value: (row) => Date.parse(row.last_seen), cell: (row) => when(row.last_seen, endOf(state)) },
    ],
  });
}

const nameKey = (row) => (isNamed(row) ? "user" : "device");
const toRequests = (row, text) => door({ [nameKey(row)]: row.user }, text, { key: `requests-of-${row.user}`, to: "requests" });
const toTrail = (row, text) => (isNamed(row) ? door({ user: row.user }, text, { key: `trail-of-${row.user}`, to: "trail" }) : text);

/** As everywhere: a person with a name. */
const isUser = ({ kind }) => kind === "user" || kind === "shared";

/** A service is called what its device is; who has no name at all, by the address. */
const isNamed = (row) => row.kind === "user" || !row.devices.includes(row.user);

function who(row) {
  const name = filterButton(isNamed(row) ? "user" : "device", row.user);
  return [name, row.kind === "user" ? null : h("span", { class: "kind" }, t(`kind-${row.kind}`))];
}

export function cards({ cards: rows }, state, panel) {
  panel.tell(state.status && t("cards-204"));
  if (!rows.length) return null;
  const top = rows[0].views;
  return h("ol", { class: "bars" }, ...rows.slice(0, 8).map((row) =>
    h("li", null,
      row.variants.length ? h("span", { class: "bar-name" }, row.name) : door({ endpoint: CARD + row.card }, row.name, { look: "bar-name" }),
      h("meter", { min: 0, max: top, value: row.views, "aria-hidden": "true" }),
      h("span", { class: "bar-value" }, number(row.views)),
      row.variants.length ? variants(row) : null,
      seenBy(row, state))));
}

/** How the views of a card divide: a line for each of its variants. */
const variants = ({ card, name, views: all, variants: rows, variants_left_out: more }) =>
  h("ul", { class: "variants", "aria-label": t("variants", { name }) }, ...rows.map(({ variant, views, users: seenBy }) =>
    h("li", null,
      door({ endpoint: CARD + card + (variant === null ? "" : `#${variant}`) }, variant ?? t("variant-none"), { look: "tag" }),
      h("span", { class: "share" }, percent(views / all, 0)),
      h("span", null, `${tn("views", views)}, `, h("span", { title: t("variant-people-how") }, tn("people-only", seenBy))))),
    more ? h("li", null, t("and-more", { n: number(more) })) : null);
