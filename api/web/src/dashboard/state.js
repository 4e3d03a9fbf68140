// What the page shows stands in its address, so that a link or a bookmark shows the same; a default leaves no trace.
// What an address says and the page cannot do is told (`notice.js`), with what is shown instead: the default.

import { CARD } from "../shared/names.js";
import { instant } from "../shared/zone.js";

export const PERIODS = ["15m", "1h", "6h", "24h", "7d", "30d", "90d", "1y"];
export const DEFAULTS = { period: "24h", at: "", from: "", to: "", user: "", device: "", endpoint: "", service: "", status: "", method: "", path: "", slower: "", all: "", sort: "", request: "", lang: "" };
export const NOW = { at: "", from: "", to: "" };
export const FILTERS = ["user", "device", "endpoint", "service", "status", "method"];
/** Of the list of requests alone: no rollup keeps paths and single times. */
export const LOG_FILTERS = ["path", "slower"];
/** What of a state changes to look at everybody's requests: a number that follows no filter leads to them. */
export const UNFILTERED = Object.fromEntries([...FILTERS, ...LOG_FILTERS].map((key) => [key, ""]));
/** Kinds of traffic that the list of requests leaves out, unless asked for `all`. */
const ASIDE = ["card", "static"];
/** Several users stand in an address as often as there are; here, with this between them. */
const AND = "\n";
const USERS_MAX = 20;
/** As the HTTP API has it. */
const TEXT_MAX = 512;
const ISO = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/i;

/** What has a text of its own for a wrong value. */
const SAID = ["period", "status", "request", "lang"];

/** It is one of the zone that the page shows. */
const ZONELESS = /[T ][\d:.]+$/i;

const isShort = (text) => text.length <= TEXT_MAX;
const isTime = (text) => ISO.test(text) && Date.parse(text) >= 0;
const TIMES = ["at", "from", "to"];
const CHECKS = {
  period: (text) => PERIODS.includes(text),
  at: isTime,
  from: isTime,
  to: isTime,
  user: isShort,
  device: isShort,
  endpoint: isShort,
  service: isShort,
  method: (text) => /^[a-z]{1,16}$/i.test(text),
  path: isShort,
  slower: (text) => /^\d{1,8}$/.test(text),
  all: (text) => text === "1",
  sort: (text) => /^(time|status|path|user|duration)-(asc|desc)$/.test(text),
  status: (text) => /^([1-5]xx|\d{3})$/.test(text),
  request: (text) => /^[0-9a-f]{32}$/i.test(text),
  lang: (text) => ["en", "es"].includes(text),
};

/** Gives the state that an address names, and what of it was not understood: {key, value, why: a text's key}. */
export function read(search = location.search) {
  const state = { ...DEFAULTS };
  const misread = [];
  for (const [key, value] of new URLSearchParams(search)) {
    if (!Object.hasOwn(CHECKS, key)) misread.push({ key, value, why: "misread-key" });
    else if (value && CHECKS[key](value)) state[key] = key === "user" ? withUser(state.user, value) : value;
    else if (value) misread.push({ key, value, why: CHECKS[key] === isShort ? "misread-long" : TIMES.includes(key) ? "misread-at" : SAID.includes(key) ? `misread-${key}` : "misread-value" });
  }
  for (const key of TIMES) if (state[key]) state[key] = ZONELESS.test(state[key]) ? instant(state[key]) : new Date(state[key]).toISOString();
  if (state.from && state.from >= (state.to || new Date().toISOString())) {
    misread.push({ key: "from", value: state.from, why: "misread-from" });
    Object.assign(state, { from: "", to: "" });
  }
  return { state, misread };
}

export function write(state) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value && value !== DEFAULTS[key]) for (const one of value.split(AND)) query.append(key, one);
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}

/** Where the time shown ends in the past; empty: it ends now. */
export const endOf = (state) => (state.from ? state.to : state.at || state.to);

/** Gives the parameters that answers take: the time, and the filters that they know. */
export function parameters(state, { filters = FILTERS } = {}) {
  const query = new URLSearchParams(state.from ? { from: state.from } : { period: state.period });
  if (endOf(state)) query.set("to", endOf(state));
  for (const key of filters) if (state[key]) for (const one of state[key].split(AND)) query.append(key, one);
  return query;
}

/** Gives the parameters of the list of requests. */
export function logParameters(state) {
  const query = parameters(state, { filters: [...FILTERS, ...LOG_FILTERS] });
  // Who asks for a card asks for its views.
  if (!state.all && !state.endpoint.startsWith(CARD)) for (const kind of ASIDE) query.append("without", kind);
  return query;
}

/** What the list of requests is asked by: its filters and its order. */
export const logAsked = (state) => `${logParameters(state)}&sort=${state.sort}`;

/** Around an event. */
const AROUND_MS = 15 * 60_000;

/** Gives what of a state changes to look at the time around an event. */
export function around(iso) {
  const at = Date.parse(iso);
  return { ...NOW, from: new Date(at - AROUND_MS).toISOString(), to: new Date(at + AROUND_MS).toISOString() };
}

export const usersOf = (state) => state.user.split(AND).filter(Boolean);
export const withUser = (users, user) => [...new Set([...users.split(AND).filter(Boolean), user])].slice(0, USERS_MAX).join(AND);
export const withoutUser = (users, user) => users.split(AND).filter((one) => one !== user).join(AND);

export const hasFilters = (state) => [...FILTERS, ...LOG_FILTERS].some((key) => state[key]);
