// The requests themselves, newest first, page by page; a click tells one whole (`request.js`).

import { h } from "../../shared/dom.js";
import { duration, moment, t } from "../../shared/words.js";
import { of } from "../of.js";

export const statusClass = (status) => (status >= 500 ? "s5" : status >= 400 ? "s4" : status >= 300 ? "s3" : "s2");

/** `more()` loads the next page, `open(line)` shows one. */
export function requests({ requests: lines, next_cursor: next }, _state, panel, { more, open }) {
  if (!lines.length) return null;
  panel.tell(of("all"));
  return [
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("requests") },
      h("table", { class: "log" },
        h("thead", null, h("tr", null, ...["time", "status", "request", "user", "duration"].map((title) =>
          h("th", { scope: "col", class: title === "duration" ? "number" : null }, t(title))))),
        h("tbody", null, ...lines.map((line) => row(line, open))))),
    next ? h("button", { type: "button", class: "quiet more", "data-key": "requests-more", onclick: more }, t("older")) : null,
  ];
}

function row(line, open) {
  const key = `request-${line.timestamp}-${line.trace_id ?? line.path}`;
  return h("tr", null,
    h("td", { class: "nowrap" }, moment(line.timestamp, "time"), h("span", { class: "device" }, moment(line.timestamp, "date"))),
    h("td", null, h("span", { class: `status ${statusClass(line.status)}` }, String(line.status))),
    h("td", { class: "wide" }, h("button", { type: "button", class: "link path", "data-key": key, "aria-haspopup": "dialog", onclick: () => open(line) },
      h("span", { class: "method" }, line.method), " ", line.path)),
    h("td", { class: "person" }, line.user ?? line.device ?? line.ip, line.user && line.device ? h("span", { class: "device" }, line.device) : null),
    h("td", { class: "number" }, duration(line.response_time_ms)));
}
