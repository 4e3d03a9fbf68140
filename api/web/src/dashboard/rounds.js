// When the panels ask: a round of questions at once, then another when there is news, or when one had no answer.
//
// Rounds keep a distance: ROUND_MS_MIN, or longer where answers take long, so that no page keeps a server busy. A panel
// that is off the screen waits until it is seen, or until somebody goes through the page by Tab, which leads into what is
// there already; a page in the background asks nothing. The first round takes what was asked for before it (`ahead`).
// In each the first panel's question goes ahead of the others (LEAD_MS): its numbers come three times as soon, all of
// them no later, since a server makes few answers at a time. They are painted before the rest of that answer is drawn, and
// the others ask meanwhile. Who opens the page at a request has that first, too.

import { ask } from "./ask.js";
import { afterPaint } from "./charts.js";
import { endOf, parameters } from "./state.js";

const ROUND_MS_MIN = 5000;
const ROUND_PATIENCE = 10;
/** So long an answer of "the last 24 h" is one of now. */
const FRESH_MS = 60_000;
/** So long at most the others let the first panel go ahead. */
const LEAD_MS = 300;
/** So long at most what lies over the page. */
const OVER_MS = 2000;
/** After a question without an answer. */
const RETRY_MS = 10_000;

export class Rounds {
  #number = 0;
  #panels = [];
  #startedMs = 0;
  #tookMs = 0;
  #waiting = 0;
  #isWalked = false;
  /** Until the others may ask, too; `release` lets them. */
  led = Promise.resolve();
  release = () => {};
  /** While somebody holds the numbers still. */
  isPaused = false;

  /** `state()` gives what the page shows now. */
  constructor(state) {
    this.state = state;
    document.addEventListener("visibilitychange", () => {
      // What did not change meanwhile is not asked for again.
      if (!document.hidden && (this.#panels.some((panel) => panel.isSeen && panel.isDue) || performance.now() - this.#startedMs > FRESH_MS)) this.soon();
    });
  }

  watch(panels) {
    this.#panels = panels;
    for (const panel of panels) if (!panel.isLead) panel.load = panel.isOfLead ? this.#later(panel.load) : this.#behind(panel.load);
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const panel = panels.find((one) => one.element === entry.target);
        panel.isSeen = entry.isIntersecting || this.#isWalked;
        if (panel.isSeen && panel.isDue) panel.refresh(this.state());
      }
    }, { rootMargin: "50%" });
    for (const panel of panels) seen.observe(panel.element);
    addEventListener("keydown", ({ key }) => {
      if (key === "Tab" && !this.#isWalked) this.showAll();
    });
  }

  #behind(load) {
    return async (state, signal, panel) => {
      await this.led;
      signal.throwIfAborted();
      return load(state, signal, panel);
    };
  }

  #later(load) {
    return async (state, signal, panel) => {
      const answer = await load(state, signal, panel);
      await Promise.all([new Promise(afterPaint), this.led]);
      signal.throwIfAborted();
      return answer;
    };
  }

  /** Has every panel answer, wherever it is: for who walks through the page by Tab, or prints it. */
  showAll() {
    this.#isWalked = true;
    return Promise.all(this.#panels.map((panel) => {
      panel.isSeen = true;
      return panel.isDue ? panel.refresh(this.state()) : null;
    }));
  }

  /** Gives a panel's `load` for an answer that several panels show parts of: it is asked for once in a round. */
  share(path, options) {
    let last = null;
    return (now, signal) => {
      const query = parameters(now, options).toString();
      if (last?.query !== query || last.number !== this.#number) {
        last?.controller.abort();
        const controller = new AbortController();
        const mine = { query, number: this.#number, controller, answer: ask(`/analytics/panels/${path}`, query, controller.signal) };
        mine.answer.catch(() => {
          if (last === mine) last = null;
        });
        last = mine;
      }
      const { answer } = last;
      return new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        answer.then(resolve, reject);
      });
    };
  }

  /** Asks for what the first round begins with, while the page still learns to speak. */
  ahead(load) {
    if (!document.hidden) load(this.state(), new AbortController().signal).catch(() => {}); // the round asks again, and says why
  }

  /** `over`: ends when what lies over the page is shown. */
  async now(over = null) {
    clearTimeout(this.#waiting);
    this.#waiting = 0;
    if (this.#startedMs) this.#number += 1;
    this.#startedMs = performance.now();
    const [lead, ...others] = this.#panels;
    const ahead = new Promise((resolve) => {
      this.release = resolve;
      setTimeout(resolve, LEAD_MS);
    });
    const isOver = over && Promise.race([over.then(() => new Promise(afterPaint)), new Promise((resolve) => setTimeout(resolve, OVER_MS))]);
    this.led = Promise.all([ahead, isOver]);
    const led = lead.refresh(this.state()).finally(this.release);
    await Promise.all([led, ...others.map((panel) => panel.refresh(this.state()))]);
    this.#tookMs = performance.now() - this.#startedMs;
    if (!this.#waiting && this.#panels.some((panel) => panel.failure)) this.#waiting = setTimeout(() => this.now(), RETRY_MS);
  }

  /** Asks as soon as the distance allows. The past has no news, and who pauses wants none. */
  soon() {
    if (this.#waiting || this.isPaused || endOf(this.state())) return;
    const gapMs = Math.max(ROUND_MS_MIN, this.#tookMs * ROUND_PATIENCE);
    this.#waiting = setTimeout(() => this.now(), Math.max(0, this.#startedMs + gapMs - performance.now()));
  }
}
