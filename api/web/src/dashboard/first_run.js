// What stands on the page of a store that is empty, in place of boxes with nothing in them: the way of a request up to here,
// step by step, each ticked as soon as it works (`/ready` says so, to an admin). It stays until all of them do.

import { h, replace, rich, sr } from "../shared/dom.js";
import { t } from "../shared/words.js";

/** As `/ready` calls them. */
const STEPS = ["log_seen", "line_parsed", "app_joined", "name_found"];
const LOOK_MS = 3000;

export class FirstRun {
  #wasEmpty = false;

  /** `problems` asks `/ready`; `panels` are the boxes, which show nothing as long as there is nothing. */
  constructor({ problems, panels }) {
    Object.assign(this, { problems, panels });
    this.element = h("section", { class: "panel first-run", "aria-labelledby": "first-run", hidden: true });
    setInterval(() => {
      if (!this.element.hidden && !document.hidden) this.#look();
    }, LOOK_MS);
  }

  /** Takes the newest request of the store (ISO, or null). */
  show(newest) {
    this.#wasEmpty ||= newest === null;
    this.panels.hidden = newest === null;
    this.say();
  }

  async #look() {
    await this.problems.refresh(AbortSignal.timeout(LOOK_MS));
    this.say();
  }

  /** Says it in the language of now. */
  say() {
    const found = this.problems.setup;
    const isDone = STEPS.every((step) => found?.[step]);
    this.element.hidden = !this.#wasEmpty || (isDone && !this.panels.hidden);
    if (this.element.hidden) return;
    replace(this.element,
      h("h2", { id: "first-run" }, t(this.panels.hidden ? "empty-store" : "first-run")),
      h("div", { role: "status" }, h("ol", { class: "steps" }, ...STEPS.map((step) => stepOf(step, found?.[step])))),
      h("p", { class: "panel-note" }, rich(t("first-import"))));
  }
}

const stepOf = (step, isDone) =>
  h("li", { class: isDone ? "done" : null },
    h("span", { class: "tick", "aria-hidden": "true" }, isDone ? "✓" : ""),
    h("span", null, h("strong", null, t(`first-${step}`)), sr(t(isDone ? "first-done" : "first-waits")),
      isDone ? null : h("span", { class: "how" }, rich(t(`first-${step}-do`)))));
