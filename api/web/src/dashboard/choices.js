// What filters offer, most used first: asked for when somebody is about to choose, or when it must be known whose a name is.
// Nobody else waits for it.

import { ask } from "./ask.js";
import { parameters } from "./state.js";

const FRESH_MS = 60_000;

export class Choices {
  #last = null;

  /** Gives the names of the time shown, `{users, devices, endpoints, services}`: those of a moment ago do. */
  of(state) {
    const query = parameters(state, { filters: [] }).toString();
    if (this.#last?.query !== query || performance.now() - this.#last.askedMs > FRESH_MS) {
      const asked = { query, askedMs: performance.now(), answer: ask("/analytics/panels/choices", query, new AbortController().signal) };
      asked.answer.catch(() => {
        if (this.#last === asked) this.#last = null;
      });
      this.#last = asked;
    }
    return this.#last.answer;
  }
}
