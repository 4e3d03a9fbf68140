// What the page shows stands in its address, so that a link or a bookmark shows the same; a default leaves no trace.

export const DEFAULTS = { period: "24h", at: "", user: "", device: "", endpoint: "", status: "", request: "", lang: "" };
export const FILTERS = ["user", "device", "endpoint", "status"];
const PERIODS = ["24h", "7d", "30d"];

export function read(search = location.search) {
  const given = new URLSearchParams(search);
  const state = Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, given.get(key) ?? DEFAULTS[key]]));
  if (!PERIODS.includes(state.period)) state.period = DEFAULTS.period;
  if (!/^([1-5]xx|\d{3})?$/.test(state.status)) state.status = "";
  if (state.at && Number.isNaN(Date.parse(state.at))) state.at = "";
  if (!/^([0-9a-f]{32})?$/i.test(state.request)) state.request = "";
  return state;
}

export function write(state) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value && value !== DEFAULTS[key]) query.set(key, value);
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}

/** Gives the parameters that answers take; the period alone for those that take no filter. */
export function parameters(state, { filters = true } = {}) {
  const query = new URLSearchParams({ period: state.period });
  for (const key of ["at", ...(filters ? FILTERS : [])]) if (state[key]) query.set(key, state[key]);
  return query;
}

export const hasFilters = (state) => FILTERS.some((key) => state[key]);
