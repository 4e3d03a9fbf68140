// One request whole: where it was (nginx, the app), who it was, and where the time went. A dialog over the page.

import { h, replace, rich } from "../../shared/dom.js";
import { pageName } from "../../shared/names.js";
import { bytes, duration, moment, percent, t } from "../../shared/words.js";
import { filterButton } from "../filter_button.js";
import { copyButton } from "../copy.js";
import { meaning } from "../meaning.js";
import { partsWhole } from "../parts.js";
import { statusClass } from "./requests.js";
import { waterfall } from "./waterfall.js";

/** An app without an exception to name gives the status again, or `_OTHER`: that is none. */
export const isException = (type) => Boolean(type) && !/^(\d+|_OTHER)$/.test(type);

/** Brings a line of the log into the form that `/analytics/panels/request/…` gives. */
const fromLine = (line) => ({
  timestamp: line.timestamp,
  nginx: { method: line.method, path: line.path, status: line.status, service: line.service, bytes: line.bytes },
  span: line.app_time_ms === null ? null : { route: line.endpoint, error_type: line.error_type },
  feature: line.endpoint,
  identity: { user: line.user, device: line.device, ip: line.ip, kind: line.kind, identified_by: line.identified_by, tags: line.tags, at: line.identified_at, reason: line.reason, via: line.via },
  timing: { total_ms: line.response_time_ms, app_ms: line.app_time_ms, outside_ms: line.outside_ms },
  traffic: line.traffic,
});

export class RequestDialog {
  #asked = 0;

  /** `find` gives the requests of a trace, `findKept` the trace itself, or null where it is not kept, `findParts` where its time went. */
  constructor({ find, findKept, findParts, onclose }) {
    Object.assign(this, { find, findKept, findParts });
    this.kept = h("div", { class: "kept" });
    this.body = h("div", { class: "dialog-body" });
    this.element = h("dialog", { class: "request", "aria-labelledby": "request-title", onclose: () => this.#closed(onclose) });
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close(); // beside the box
    });
    this.element.append(this.body);
  }

  showLine(line) {
    this.show([fromLine(line)], line.trace_id);
  }

  /** Shows what an address names, unless something else was asked for until it is found. Ends when all of it is shown. */
  async showTrace(traceId) {
    const asked = (this.#asked += 1);
    const kept = this.#askKept(traceId);
    const found = await this.find(traceId).catch((error) => ({ requests: [], problem: error }));
    if (asked === this.#asked) await this.show(found.requests, traceId, found.problem, kept);
  }

  #askKept(traceId) {
    return this.findKept(traceId).catch(() => null);
  }

  /** Shows the spans, where they are kept, else the three parts of its time; the request is shown already. */
  async #showKept(traceId, timestamp, kept) {
    const asked = this.#asked;
    const found = await kept;
    const { requests } = found ? { requests: [] } : await this.findParts(traceId, after(timestamp)).catch(() => ({ requests: [] }));
    if (asked !== this.#asked) return;
    if (found) replace(this.kept, waterfall(found));
    for (const one of requests) {
      const host = this.body.querySelector(`[data-at="${CSS.escape(one.timestamp)}"]`);
      if (host) replace(host, partsWhole(one));
    }
  }

  /** The page may have been drawn anew below: the focus goes to the same place of it. */
  #closed(then) {
    const isLost = [document.body, ...this.element.querySelectorAll(":focus")].includes(document.activeElement);
    if (isLost && this.from) document.querySelector(`[data-key="${CSS.escape(this.from)}"]`)?.focus();
    then();
  }

  #lost({ kind = "failed", message }, traceId) {
    return h("div", { class: "problem", role: "alert" },
      h("p", null, h("strong", null, t(`problem-${kind}`)), " ", rich(t(`problem-${kind}-do`))),
      h("p", { class: "detail", lang: "en" }, message),
      h("button", { type: "button", onclick: () => this.showTrace(traceId) }, t("try-again")));
  }

  close() {
    this.#asked += 1;
    this.element.close();
  }

  async show(requests, traceId, problem, kept) {
    const first = requests[0];
    // Nobody could say whether there is one.
    const isLost = problem && problem.kind !== "refused";
    replace(this.body,
      h("div", { class: "dialog-head" },
        h("h2", { id: "request-title" }, first ? [h("span", { class: "method" }, first.nginx.method), " ", first.nginx.path] : t(isLost ? "request" : "request-none")),
        h("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => this.element.close() }, "✕")),
      ...(requests.length ? requests.map(whole) : [isLost ? this.#lost(problem, traceId) : h("p", { class: "empty", lang: problem && "en" }, problem?.message ?? t("request-none-do"))]),
      this.kept,
      traceId ? h("p", { class: "trace" }, t("trace"), " ", h("code", null, traceId)) : null,
      first ? h("div", { class: "actions" },
        traceId && copyButton("copy-link", () => linkTo(traceId, first.timestamp)),
        copyButton("copy-curl", () => curl(first.nginx)),
        traceId && copyButton("copy-trace", () => traceId)) : null);
    this.#asked += 1;
    replace(this.kept);
    if (!this.element.open) {
      this.from = document.activeElement?.dataset?.key;
      this.element.showModal();
    }
    if (first && traceId) await this.#showKept(traceId, first.timestamp, kept ?? this.#askKept(traceId));
  }
}

/** A time by which the request was there. */
const after = (timestamp) => new Date(Date.parse(timestamp) + 1000).toISOString();

/** A link that finds the request whenever it is opened. */
const linkTo = (traceId, timestamp) =>
  `${location.origin}${location.pathname}?${new URLSearchParams({ request: traceId, at: after(timestamp) })}`;

/** The request again, as far as the log tells: bodies, headers and query strings are not kept. */
function curl({ method, path, service }) {
  const url = `${location.protocol}//${service || location.hostname}${path}`;
  return `curl -i -X ${method} '${url.replaceAll("'", "'\\''")}'`;
}

function whole({ timestamp, nginx, span, feature, identity, timing, traffic }) {
  const share = timing.total_ms && timing.outside_ms !== null ? Math.min(1, timing.app_ms / timing.total_ms) : null;
  return h("div", { class: "whole" },
    h("p", { class: "when" }, h("span", { class: `status ${statusClass(nginx.status)}` }, String(nginx.status)), " ", moment(timestamp, "full"), " · ", traffic === "card" ? pageName(feature) : t(`traffic-${traffic}`)),
    share === null ? null : h("div", { "data-at": timestamp }, split(timing, share)),
    h("ol", { class: "stations" },
      station("nginx", "nginx", [
        ["duration", duration(timing.total_ms)], ["service", nginx.service && filterButton("service", nginx.service)], ["sent", bytes(nginx.bytes)],
      ]),
      span
        ? station("app", t("the-app"), [["route", span.route && filterButton("endpoint", span.route, "path", pageName(span.route))], ["feature", feature === span.route ? null : pageName(feature)], ["duration", duration(timing.app_ms)], ["error-type", isException(span.error_type) && span.error_type, "bad"]])
        : station("app off", t("the-app"), [], t(nginx.status >= 502 && nginx.status <= 504 ? "no-span-unreached" : "no-span")),
      station("who", t("identity"), [
        ["user", identity.user && filterButton("user", identity.user)], ["device", identity.device && filterButton("device", identity.device)], ["address", identity.ip && filterButton("user", identity.ip)], ["kind", t(`kind-${identity.kind}`)],
        ["tags", identity.tags?.join(", ")], ["identified-by", identity.identified_by && meaning("source", identity.identified_by)], ["came-by", identity.via?.split(", ").map(cameBy).join(", ")],
        ["reason", identity.reason && meaning("reason", identity.reason)],
      ])));
}

/** Says through whom an address came, one of `via`: a proxy before nginx, by how it told of it, or a router of the tailnet. */
function cameBy(via) {
  const [, how, peer] = /^(forwarded|PROXY protocol|serve|Funnel) by (.+)$/.exec(via) ?? [];
  const keys = { forwarded: "came-forwarded", "PROXY protocol": "came-proxy-protocol", serve: "came-serve", Funnel: "came-funnel" };
  return how ? t(keys[how], { peer }) : via;
}

const station = (look, title, facts, note) =>
  h("li", { class: look }, h("h3", null, title), note ? h("p", { class: "panel-note" }, note) : null,
    h("dl", null, ...facts.filter(([, value]) => value).map(([key, value, tone]) => h("div", null, h("dt", null, t(key)), h("dd", { class: tone }, value)))));

function split({ app_ms: app, outside_ms: outside }, share) {
  const bar = h("div", { class: "split", "aria-hidden": "true" }, h("i", { class: "in" }), h("i", { class: "out" }));
  bar.style.setProperty("--share", share);
  return h("div", null, bar, h("p", { class: "split-text" },
    h("span", { class: "in" }, t("split-app", { time: duration(app), share: percent(share, 0) })),
    h("span", { class: "out" }, t("split-outside", { time: duration(outside) }))));
}
