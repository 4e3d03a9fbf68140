// A kept trace: where the request's time went, then a bar for each span. What a span says opens below it.

import { h } from "../../shared/dom.js";
import { duration, t } from "../../shared/words.js";
import { copy } from "../copy.js";
import { meaning } from "../meaning.js";

const INDENT_MAX = 12;
/** Frames that are shown of a stack of libraries alone. */
const FRAMES_SHOWN = 8;

/** Gives the elements of a trace as `/analytics/panels/trace/…` has it. */
export function waterfall(trace) {
  return h("section", { class: "waterfall", "aria-label": t("waterfall") },
    ...trace.requests.map((one) => phases(one)),
    rows(trace),
    h("p", { class: "trace-tools" },
      h("button", { type: "button", onclick: (event) => copy(event.currentTarget, trace) }, t("copy-text")),
      h("a", { href: `/analytics/traces/${trace.trace_id}/otlp`, download: `trace-${trace.trace_id}.jsonl` }, t("download-otlp")),
      // A backend of the operator's own, by TAILTRACE_TRACE_URL: http or https, and nothing else.
      trace.url && /^https?:/.test(trace.url) ? h("a", { href: trace.url, rel: "noreferrer noopener", target: "_blank" }, t("open-elsewhere")) : null));
}

function phases({ phases: parts, duration_ms: whole }) {
  if (!parts.length) return null;
  const bar = h("div", { class: "phases", "aria-hidden": "true" }, ...parts.map(({ phase, duration_ms: length }) => {
    const part = h("i", { class: phase });
    part.style.setProperty("--share", length / (whole || 1));
    return part;
  }));
  return h("div", null, bar, h("dl", { class: "phase-names" }, ...parts.map(({ phase, duration_ms: length }) =>
    h("div", { class: phase }, h("dt", null, t(`phase-${phase}`)), h("dd", null, duration(length))))));
}

/** A row of each span. One listener serves them all: what a span says is made when its row opens (`toggle` does not bubble). */
function rows({ spans, duration_ms: wholeMs }) {
  const spanOf = new Map();
  const copy = pattern();
  const list = h("ol", { class: "spans" });
  // One fragment, put in at once.
  list.append(...spans.map((span) => {
    const one = row(copy.cloneNode(true), span, wholeMs || 1);
    spanOf.set(one.firstChild, span);
    return one;
  }));
  list.addEventListener("toggle", ({ target }) => {
    if (spanOf.has(target) && target.childElementCount === 1) target.append(told(spanOf.get(target)));
  }, true);
  return list;
}

/** What all rows are copies of: a browser copies elements several times as fast as it makes them. */
const pattern = () =>
  h("li", null, h("details", null, h("summary", null,
    h("span", { class: "span-name" }, " ", h("span", { class: "device" }, " ")),
    h("span", { class: "lane" }, h("span", { class: "bar", "aria-hidden": "true" })),
    h("span", { class: "number" }, " "))));

function row(one, span, wholeMs) {
  const details = one.firstChild;
  const head = details.firstChild;
  const [name, lane, length] = head.children;
  head.dataset.key = `span-${span.id}`;
  head.style.setProperty("--depth", Math.min(INDENT_MAX, span.depth));
  name.firstChild.data = span.name;
  if (span.service) name.lastChild.firstChild.data = span.service;
  else name.lastChild.remove();
  lane.firstChild.style.cssText = `--from:${Math.min(1, Math.max(0, span.start_ms / wholeMs))};--share:${Math.min(1, span.duration_ms / wholeMs)}`;
  length.firstChild.data = duration(span.duration_ms);
  if (span.outside) {
    lane.classList.add("outside");
    lane.title = t("span-outside");
    name.append(" ", h("span", { class: "state" }, t("outside")));
  }
  if (span.failed || span.nginx) details.className = span.failed ? "bad" : "of-nginx";
  if (span.failures.length) {
    details.open = true;
    details.append(told(span));
  }
  return one;
}

function told(span) {
  return h("div", { class: "told" },
    ...span.failures.map(failure),
    span.message ? h("p", null, span.message) : null,
    h("dl", null, ...[["span-kind", span.kind && meaning("span", span.kind)], ["span-version", span.version]].filter(([, value]) => value).map(([key, value]) => pair(t(key), value)),
      ...span.attributes.map(({ key, value }) => pair(key, value, "no")),
      ...span.events.map((event) => pair(`${event.name} (${duration(event.at_ms)})`, event.attributes.map(({ key, value }) => `${key}=${value}`).join("  "), "no"))));
}

/** `translate`: what the app wrote is code, and stays as it is. */
const pair = (key, value, translate = null) => h("div", { translate }, h("dt", null, key), h("dd", null, value));

function failure({ type, message, stack, text }) {
  const own = stack.filter((line) => line.own);
  return h("div", { class: "failure" },
    h("p", { class: "bad" }, h("strong", null, type), message ? `: ${message}` : null),
    stack.length
      ? h("ol", { class: "frames" }, ...(own.length ? own : stack.slice(-FRAMES_SHOWN)).map((line) =>
          h("li", null, h("code", null, `${line.file}:${line.line}`), ` ${line.function}`, line.source ? h("pre", null, line.source) : null)))
      : null,
    text ? h("details", { class: "whole-stack" }, h("summary", null, t("whole-stack")), h("pre", { tabindex: "0" }, text)) : null);
}

/** Gives a trace as plain text: to paste into an issue. */
export function asText(trace) {
  const lines = [`${t("trace")} ${trace.trace_id}  ${trace.started}  ${duration(trace.duration_ms)}`];
  for (const one of trace.requests) {
    lines.push(`${one.method} ${one.path}  ${one.status}  ${one.user ?? one.device ?? one.ip}`);
    for (const part of one.phases) lines.push(`  ${t(`phase-${part.phase}`)}: ${duration(part.duration_ms)}`);
  }
  lines.push("");
  for (const span of trace.spans) {
    lines.push(`${"  ".repeat(span.depth)}${span.name}${span.service ? `  [${span.service}]` : ""}  +${duration(span.start_ms)}  ${duration(span.duration_ms)}${span.outside ? `  (${t("outside")})` : ""}${span.failed ? "  ✗" : ""}`);
    for (const one of span.failures) lines.push("", one.text ?? one.type, "");
  }
  return lines.join("\n");
}
