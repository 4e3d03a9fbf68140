// The pages of requests that were asked for so far. Who reads older ones keeps them: no round takes them away, only
// another filter does.

import { ask } from "./ask.js";
import { logParameters } from "./state.js";

const PATH = "/analytics/panels/requests";
const PAGE_ROWS = 20;
const ROWS_MAX = 500;

export class Pages {
  #older = null;

  async load(state, signal) {
    const query = logParameters(state).toString();
    if (this.#older?.query !== query) this.#older = null;
    return this.#older?.answer ?? ask(PATH, `${query}&limit=${PAGE_ROWS}`, signal);
  }

  /** Puts the next page behind what the panel shows. */
  async more(panel) {
    const query = logParameters(panel.state).toString();
    const { requests, next_cursor: cursor } = panel.answer;
    try {
      const page = await ask(PATH, `${query}&limit=${PAGE_ROWS}&cursor=${cursor}`, new AbortController().signal);
      const all = [...requests, ...page.requests];
      this.#older = { query, answer: { requests: all, next_cursor: all.length >= ROWS_MAX ? null : page.next_cursor } };
      panel.answer = this.#older.answer;
      panel.show();
    } catch (error) {
      panel.fail(error);
    }
  }
}
