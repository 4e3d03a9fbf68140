// The requests themselves, newest first, page by page; a click tells one whole (`request.js`).

import { h } from "../../shared/dom.js";
import { duration, moment, t } from "../../shared/words.js";
import { door, filterButton } from "../filter_button.js";
import { logParameters } from "../state.js";
import { of } from "../of.js";

/** So many lines are looked through under headings that stay. */
const LONG = 20;

export const statusClass = (status) => (status >= 500 ? "s5" : status >= 400 ? "s4" : status >= 300 ? "s3" : "s2");

/** `more()` loads the next page, `open(line)` shows one. */
export function requests({ requests: lines, next_cursor: next }, state, panel, { more, open }) {
  if (!lines.length) return null;
  panel.tell(of("all"), aside(state));
  return [
    h("p", { class: "files" }, t("as-file"), " ", ...["csv", "json"].map((form) =>
      h("a", { href: `/analytics/panels/requests/file?${logParameters(state)}&format=${form}`, download: `requests.${form}` }, form.toUpperCase()))),
    h("div", { class: lines.length > LONG ? "scroll long" : "scroll", tabindex: "0", role: "group", "aria-label": t("requests") },
      h("table", { class: "log" },
        h("thead", null, h("tr", null, ...["time", "status", "request", "user", "duration"].map((title) =>
          h("th", { scope: "col", class: title === "duration" ? "number" : null }, t(title))))),
        h("tbody", null, ...lines.map((line) => row(line, open))))),
    next ? h("button", { type: "button", class: "quiet more", "data-key": "requests-more", onclick: more }, t("older")) : null,
  ];
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
    h("td", { class: "person" }, filterButton(!line.user && line.device ? "device" : "user", line.user ?? line.device ?? line.ip), line.user && line.device ? h("span", { class: "device" }, line.device) : null),
    h("td", { class: "number" }, duration(line.response_time_ms)));
}
