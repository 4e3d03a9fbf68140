// The requests themselves, page by page, newest first or as a heading says; a click tells one whole (`request.js`).

import { h } from "../../shared/dom.js";
import { duration, moment, number, t } from "../../shared/words.js";
import { door, filterButton } from "../filter_button.js";
import { logParameters } from "../state.js";
import { of } from "../of.js";

/** So many lines are looked through under headings that stay. */
const LONG = 20;
/** The columns, by what the answer calls them: {the heading's text, how it is sorted at first}. */
const COLUMNS = { time: ["time", "desc"], status: ["status", "desc"], path: ["request", "asc"], user: ["user", "asc"], duration: ["duration", "desc"] };
const NEWEST_FIRST = "time-desc";

export const statusClass = (status) => (status >= 500 ? "s5" : status >= 400 ? "s4" : status >= 300 ? "s3" : "s2");

/** `more()` loads the next page, `open(line)` shows one. */
export function requests({ requests: lines, next_cursor: next, looked_at: lookedAt, is_all: isAll, forms }, state, panel, { more, open }) {
  if (!lines.length) return null;
  panel.tell(of("all", "requests"), aside(state), isAll === false && t("sorted-of", { n: number(lookedAt) }));
  const hasMore = next || (state.sort && lines.length === LONG && lines.length < lookedAt);
  return [
    h("p", { class: "files" }, t("as-file"), " ", ...forms.map((form) =>
      h("a", { href: `/analytics/panels/requests/file?${logParameters(state)}&format=${form}`, download: `requests.${form}` }, form === "parquet" ? "Parquet" : form.toUpperCase()))),
    h("div", { class: lines.length > LONG ? "scroll long" : "scroll", tabindex: "0", role: "group", "aria-label": t("requests") },
      h("table", { class: "log" },
        h("thead", null, h("tr", null, ...Object.keys(COLUMNS).map((by) => heading(by, state.sort || NEWEST_FIRST)))),
        h("tbody", null, ...lines.map((line) => row(line, open))))),
    hasMore ? h("button", { type: "button", class: "quiet more", "data-key": "requests-more", onclick: more }, t(state.sort ? "more-sorted" : "older")) : null,
  ];
}

/** A heading sorts by its column, and again the other way round. */
function heading(by, sort) {
  const [title, first] = COLUMNS[by];
  const [now, order] = sort.split("-");
  const next = now === by ? (order === "desc" ? "asc" : "desc") : first;
  const chosen = `${by}-${next}`;
  return h("th", { scope: "col", class: by === "duration" ? "number" : null, "aria-sort": now === by ? `${order}ending` : null },
    door({ sort: chosen === NEWEST_FIRST ? "" : chosen }, t(title), { title: null, key: `requests-by-${by}`, stays: true }));
}

/** Card views and static files are there for who asks. */
const aside = ({ all }) => door({ all: all ? "" : "1" }, t(all ? "without-aside" : "with-aside"), { title: null, key: "requests-all", stays: true });

function row(line, open) {
  const key = `request-${line.timestamp}-${line.trace_id ?? line.path}`;
  return h("tr", null,
    h("td", { class: "nowrap" }, moment(line.timestamp, "time"), h("span", { class: "device" }, moment(line.timestamp, "date"))),
    h("td", null, filterButton("status", String(line.status), `status ${statusClass(line.status)}`)),
    h("td", { class: "wide" }, h("button", { type: "button", class: "link path", "data-key": key, "aria-haspopup": "dialog", onclick: () => open(line) },
      h("span", { class: "method" }, line.method), " ", line.path)),
    h("td", { class: "person" }, filterButton(!line.user && line.device ? "device" : "user", line.user ?? line.device ?? line.ip), line.user && line.device ? filterButton("device", line.device, "device") : null),
    h("td", { class: "number" }, duration(line.response_time_ms)));
}
