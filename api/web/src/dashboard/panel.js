// One box of the page: asks for its answer, and shows it in one of these states.
//
// | state | shows |
// |---|---|
// | loading | grey bars, the first time only |
// | waiting | the answer to what was asked before, faint: other filters were chosen, and their answer takes a while |
// | shown | the answer |
// | empty | what to do so that there is something |
// | failed | what went wrong, what to do, a button to try again; an older answer to the same stays visible below, marked as old |
//
// An answer that is an admin's only has no box on a member's page, nor where who looks became a member meanwhile (403).
// What stops all of them (`COMMON`) is said by the first panel alone, while that has it too. A panel that nobody sees asks nothing until it is seen.

import { h, replace, rich } from "../shared/dom.js";
import { moment, t } from "../shared/words.js";
import { FILTERS, LOG_FILTERS, logAsked, parameters } from "./state.js";

/** So long what was asked before looks like the answer. */
const WAITING_MS = 300;
/** Problems that every panel has at the same time. */
const COMMON = new Set(["away", "store", "unknown"]);

export class Panel {
  /**
   * `load(state, signal)` gives the answer, `render(answer, state)` elements, or null where there is nothing. `follows`: the
   * filters that the answer obeys; under another one it says that it is of everybody. `isOfLead`: it shows a part of the
   * first panel's answer.
   */
  constructor({ id, title, isLead = false, isOfLead = false, isLog = false, isOfAdmins = false, wide, load, render, empty, lines = 4, follows = FILTERS, extra }) {
    Object.assign(this, { id, load, render, empty, lines, title, isLead, isOfLead, isLog, isOfAdmins, follows });
    this.heading = h("h2", { id: `${id}-title` });
    this.note = h("p", { class: "panel-note" });
    this.body = h("div", { class: "panel-body" });
    this.problem = h("div", { class: "problem", role: "alert", hidden: true });
    this.element = h(
      "section",
      { id, class: `panel${wide ? ` ${wide}` : ""}`, "aria-labelledby": `${id}-title` },
      h("div", { class: "panel-head" }, this.heading, extra ?? null, this.note),
      this.problem,
      this.body,
    );
    this.failure = null;
    this.isDue = true;
    this.isSeen = false;
    this.isOffered = true;
    this.answer = null;
    this.skeleton();
  }

  skeleton() {
    this.body.setAttribute("aria-busy", "true");
    replace(this.body, h("div", { class: "skeleton", "aria-hidden": "true" }, h("p", { class: "on-paper" }), ...Array.from({ length: this.lines }, () => h("i"))));
  }

  /** Shows the box or not: one that is of no use for now neither asks nor waits. */
  offer(isOffered) {
    if (isOffered === this.isOffered) return;
    this.isOffered = isOffered;
    this.element.hidden = !isOffered;
    if (!isOffered) {
      this.body.removeAttribute("aria-busy");
      this.isSeen = false;
    } else if (this.answer === null) this.skeleton();
  }

  /** Asks and shows; what was asked before for another state is dropped. */
  async refresh(state) {
    this.state = state;
    // The first one asks wherever it is: what it hears says whether the others are shown.
    if (!this.isOffered || !(this.isSeen || this.isLead) || document.hidden) {
      this.isDue = true;
      return;
    }
    this.isDue = false;
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.heading.textContent = t(this.title);
    const faint = setTimeout(() => this.wait(), WAITING_MS);
    try {
      const answer = await this.load(state, asked.signal, this);
      if (asked.signal.aborted) return;
      this.answer = answer;
      this.answeredFor = state;
      this.answeredAt = new Date().toISOString();
      this.problem.hidden = true;
      if (this.failure) {
        this.failure = null;
        this.onFailure?.();
      }
      this.element.hidden = false;
      this.element.classList.remove("is-old");
      this.show();
    } catch (error) {
      if (asked.signal.aborted || error.name === "AbortError") return;
      this.fail(error);
    } finally {
      clearTimeout(faint);
      if (this.asked === asked) this.element.classList.remove("is-waiting");
    }
  }

  /** Whether what the panel shows answers something else than what was asked last. */
  get isOfBefore() {
    return this.answer !== null && this.asks(this.answeredFor) !== this.asks(this.state);
  }

  asks(state) {
    return this.isLog ? logAsked(state) : parameters(state).toString();
  }

  wait() {
    if (!this.isOfBefore) return;
    this.element.classList.add("is-waiting");
    this.body.setAttribute("aria-busy", "true");
  }

  show() {
    this.heading.textContent = t(this.title);
    this.tellFailure();
    if (this.answer === null) return;
    this.body.removeAttribute("aria-busy");
    this.note.replaceChildren();
    const content = this.render(this.answer, this.answeredFor, this);
    if (FILTERS.some((key) => this.answeredFor[key] && !this.follows.includes(key))) this.tell(t("of-everybody"));
    if (!this.isLog && LOG_FILTERS.some((key) => this.answeredFor[key])) this.tell(t("not-by-path"));
    replace(this.body, content ?? h("p", { class: "empty" }, rich(this.empty(this.answeredFor))));
  }

  /** Says something beside the heading, besides what is said there already. */
  tell(...notes) {
    for (const note of notes) if (note) this.note.append(this.note.hasChildNodes() ? " · " : "", note);
  }

  fail(error) {
    if (!error.kind) console.error(error);
    const kind = error.kind ?? "failed";
    this.body.removeAttribute("aria-busy");
    if (kind === "private") {
      this.element.hidden = true;
      return;
    }
    if (this.isOfBefore) this.answer = null;
    this.element.classList.toggle("is-old", this.answer !== null);
    this.failure = { kind, message: error.message };
    this.tellFailure();
    this.onFailure?.();
  }

  /** Says why there is no answer: what stops the first panel as well is said there. */
  tellFailure() {
    if (!this.failure) return;
    const { kind, message } = this.failure;
    const isToldThere = COMMON.has(kind) && !this.isLead && this.lead?.failure?.kind === kind;
    this.problem.hidden = isToldThere;
    if (this.answer === null) replace(this.body, isToldThere && h("p", { class: "empty" }, t("problem-common")));
    if (isToldThere) return;
    replace(
      this.problem,
      h("p", null, h("strong", null, t(`problem-${kind}`)), " ", rich(t(`problem-${kind}-do`))),
      message ? h("p", { class: "detail", lang: "en" }, message) : null,
      this.answer === null ? null : h("p", null, t("problem-old", { time: moment(this.answeredAt, "time") })),
      h("button", { type: "button", "data-key": `${this.id}-again`, onclick: () => this.refresh(this.state) }, t("try-again")),
    );
  }
}
