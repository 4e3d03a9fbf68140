// The pages of requests that were asked for so far. Who reads older ones keeps them: no round takes them away, only
// another filter or order does. In another order than the newest first there is one page of some, then one of many.

import { ask } from "./ask.js";
import { logAsked, logParameters } from "./state.js";

const PATH = "/analytics/panels/requests";
const PAGE_ROWS = 20;
const ROWS_MAX = 500;
/** As many as one answer has. */
const SORTED_MAX = 200;
/** The formats that a file of requests can have: asked for once. */
let forms = null;
const findForms = () => (forms ??= ask(`${PATH}/forms`, "", new AbortController().signal).catch(() => ["json", "csv"]));

function page(state, signal, limit = PAGE_ROWS) {
  if (!state.sort) return ask(PATH, `${logParameters(state)}&limit=${limit}`, signal);
  const [by, order] = state.sort.split("-");
  return ask(`${PATH}/sorted`, `${logParameters(state)}&by=${by}&order=${order}&limit=${limit}`, signal);
}

export class Pages {
  #older = null;

  async load(state, signal) {
    const query = logAsked(state);
    if (this.#older?.query !== query) this.#older = null;
    const [answer, has] = await Promise.all([this.#older?.answer ?? page(state, signal), findForms()]);
    return { ...answer, forms: has };
  }

  /** Puts the next page behind what the panel shows. */
  async more(panel) {
    const { state, answer } = panel;
    const signal = new AbortController().signal;
    try {
      this.#older = { query: logAsked(state), answer: state.sort ? await page(state, signal, SORTED_MAX) : await older(state, answer, signal) };
      panel.answer = { ...answer, ...this.#older.answer };
      panel.show();
    } catch (error) {
      panel.fail(error);
    }
  }
}

async function older(state, { requests, next_cursor: cursor }, signal) {
  const next = await ask(PATH, `${logParameters(state)}&limit=${PAGE_ROWS}&cursor=${cursor}`, signal);
  const all = [...requests, ...next.requests];
  return { requests: all, next_cursor: all.length >= ROWS_MAX ? null : next.next_cursor };
}
