// The filters in force, each with a way to take it away.

import { h } from "../shared/dom.js";
import { pageName } from "../shared/names.js";
import { duration, t } from "../shared/words.js";
import { FILTERS, LOG_FILTERS, usersOf, withoutUser } from "./state.js";

/** Gives a chip for each filter of a state; `change(next)` takes it away. */
export function chips(state, change) {
  const users = usersOf(state).map((user) => chip("user", user, user, () => change({ user: withoutUser(state.user, user) })));
  const others = [...FILTERS, ...LOG_FILTERS].filter((key) => key !== "user" && state[key]);
  return [...users, ...others.map((key) => chip(key, state[key], said(key, state[key]), () => change({ [key]: "" })))];
}

const said = (key, value) => (key === "endpoint" ? pageName(value) : key === "slower" ? duration(Number(value)) : value);

const chip = (key, value, text, remove) =>
  h("li", null, h("button", { type: "button", class: "chip", "data-key": `chip-${key}-${value}`, title: t("remove-filter"), onclick: remove },
    h("span", { class: "chip-key" }, t(key)), " ", h("span", { class: "chip-value" }, text), h("span", { "aria-hidden": "true" }, " ✕")));
