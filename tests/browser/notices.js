// What test_notices.py calls: the page's own functions, without a server. Bundled by esbuild for the test.

import { Banner } from "../../api/web/src/dashboard/banner.js";
import { Header } from "../../api/web/src/dashboard/header.js";
import { legendOf } from "../../api/web/src/dashboard/marks.js";
import { Panel } from "../../api/web/src/dashboard/panel.js";
import { active } from "../../api/web/src/dashboard/panels/active.js";
import { endpoints } from "../../api/web/src/dashboard/panels/endpoints.js";
import { health } from "../../api/web/src/dashboard/panels/health.js";
import { heat, series, totals } from "../../api/web/src/dashboard/panels/overview.js";
import { missing } from "../../api/web/src/dashboard/panels/missing.js";
import { cards, users } from "../../api/web/src/dashboard/panels/people.js";
import { requests } from "../../api/web/src/dashboard/panels/requests.js";
import { trail } from "../../api/web/src/dashboard/panels/trail.js";
import { unused } from "../../api/web/src/dashboard/panels/unused.js";
import { DEFAULTS, FILTERS } from "../../api/web/src/dashboard/state.js";
import { speak } from "../../api/web/src/shared/words.js";

const renders = { active, cards, endpoints, health, heat, missing, requests, series, totals, trail, unused, users };
const whole = (state) => ({ ...DEFAULTS, ...state });

globalThis.page = {
  speak,

  /** Gives what stands beside a box's heading, and what it says within. */
  box(name, answer, state, { follows = FILTERS, isLog = false } = {}) {
    const panel = new Panel({ id: name, title: name, follows, isLog, load: null, empty: () => "", render: (said, now, one) => renders[name](said, now, one, { open() {}, more() {} }) });
    panel.answer = { ...answer, parts: new Map() };
    panel.answeredFor = whole(state);
    panel.show();
    const titles = [...panel.body.querySelectorAll("[title]")].map((one) => one.title);
    return { notes: panel.note.textContent ? panel.note.textContent.split(" · ") : [], within: [panel.body.textContent, ...titles].join("\n") };
  },

  /** Gives what a box says that has no answer. */
  problem(kind) {
    const panel = new Panel({ id: "users", title: "users", load: null, empty: () => "", render: () => null });
    panel.fail(Object.assign(new Error("detail"), { kind }));
    return panel.problem.textContent;
  },

  /** Gives what stands at the foot of the window, or null. */
  banner(overview, state) {
    const banner = new Banner(() => {});
    banner.show(overview, whole(state));
    return banner.element.hidden ? null : banner.element.textContent;
  },

  /** Gives what the head of the page says of the line. */
  head(line, ageS, isPaused, state) {
    const header = new Header({});
    header.say(whole(state));
    header.newest = ageS === null ? null : new Date(Date.now() - 1000 * ageS).toISOString();
    header.paused = isPaused;
    header.line = [line];
    return document.getElementById("live-text").textContent;
  },

  legend: (count) => legendOf(Array.from({ length: count }, () => ({ mark: { service: "", text: "v2", time: "2025-10-08T12:00:00Z" } }))).map((one) => one.textContent),
};
