// The page, put together: it reads its address, shows the panels, and asks again when there is news.

import { h } from "../shared/dom.js";
import { chooseLang, moment, t } from "../shared/words.js";
import { ask } from "./ask.js";
import { Banner } from "./banner.js";
import { Filters } from "./filters.js";
import { Header, stored } from "./header.js";
import { listen } from "./live.js";
import { Pages } from "./pages.js";
import { Panel } from "./panel.js";
import { active } from "./panels/active.js";
import { endpoints } from "./panels/endpoints.js";
import { health } from "./panels/health.js";
import { heat, series, totals } from "./panels/overview.js";
import { cards, users } from "./panels/people.js";
import { RequestDialog } from "./panels/request.js";
import { requests } from "./panels/requests.js";
import { Rounds } from "./rounds.js";
import { hasFilters, parameters, read, write } from "./state.js";

const root = document.documentElement;
const $ = (id) => document.getElementById(id);
let state = read();

const rounds = new Rounds(() => state);
const filters = new Filters({ change });
const banner = new Banner((at) => change({ at }));
const header = new Header({ onLang: (lang) => change({ lang }), onTheme: () => panels.forEach((panel) => panel.show()) });
const pages = new Pages();
const dialog = new RequestDialog({
  find: (trace) => ask(`/analytics/panels/request/${trace}`, new URLSearchParams(state.at ? { at: state.at } : {}), new AbortController().signal),
  onclose: () => change({ request: "" }, { isQuiet: true }),
});

const overview = rounds.share("overview");
const people = rounds.share("people");
const own = (path, options) => (now, signal) => ask(path, parameters(now, options), signal);

async function leading(now, signal) {
  const answer = await overview(now, signal);
  filters.offer(answer.choices);
  banner.show(answer, now);
  header.newest = answer.newest;
  header.answeredAt = new Date().toISOString();
  header.show();
  return answer;
}

const nothing = (now) => t(hasFilters(now) ? "empty-filter" : header.newest || now.at ? "empty-period" : "empty-store");
// In the past the newest request of all is not known here.
const nobody = () => (state.at ? t("empty-now") : header.newest ? t("empty-active", { time: moment(header.newest, "full") }) : t("empty-store"));

const panels = [
  new Panel({ id: "totals", title: "overview", isLead: true, wide: "full", lines: 2, load: leading, render: totals, empty: nothing }),
  new Panel({ id: "requests-by-hour", title: "series", wide: "two", lines: 7, load: overview, render: series, empty: nothing }),
  new Panel({ id: "active", title: "active", lines: 5, load: (_, signal) => ask("/analytics/active-users", null, signal), render: active, empty: nobody }),
  new Panel({ id: "users", title: "users", wide: "full", lines: 6, load: people, render: users, empty: nothing }),
  new Panel({ id: "heat", title: "heat", wide: "two", lines: 7, load: overview, render: heat, empty: nothing }),
  new Panel({ id: "cards", title: "cards", lines: 5, load: people, render: cards, empty: (now) => t(hasFilters(now) ? "empty-filter" : "empty-cards") }),
  new Panel({ id: "endpoints", title: "endpoints", wide: "full", lines: 6, load: own("/analytics/panels/endpoints"), render: endpoints, empty: nothing }),
  new Panel({ id: "health", title: "health", wide: "full", lines: 8, load: own("/analytics/panels/health", { filters: false }), render: health, empty: () => t("empty-store") }),
  new Panel({
    id: "requests", title: "requests", wide: "full", lines: 8, load: (now, signal) => pages.load(now, signal), empty: nothing,
    render: (answer, now, panel) => requests(answer, now, { open, more: () => pages.more(panel) }),
  }),
];

function open(line) {
  dialog.showLine(line);
  change({ request: line.trace_id ?? "" }, { isQuiet: true });
}

/** Changes what the page shows. Quiet: nothing needs to be asked for it. */
function change(next, { isQuiet = false } = {}) {
  const before = write(state);
  state = { ...state, ...next };
  if (write(state) === before) return;
  history[isQuiet ? "replaceState" : "pushState"](null, "", write(state));
  if (!isQuiet) show();
}

function show() {
  root.lang = chooseLang(state.lang, stored("lang"), navigator.languages, root.dataset.lang);
  const focused = document.activeElement?.id;
  header.say(state);
  filters.render(state);
  for (const panel of panels) panel.show();
  if (focused) $(focused)?.focus();
  rounds.now().then(() => { $("said").textContent = t("said-shown"); });
  if (state.request && !dialog.element.open) dialog.showTrace(state.request);
}

addEventListener("popstate", () => {
  state = read();
  show();
});
document.addEventListener("narrow", (event) => {
  change(event.detail);
  scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
});

$("filters").append(filters.element);
$("main").append(banner.element, h("div", { class: "panels" }, ...panels.map((panel) => panel.element)));
document.body.append(dialog.element);
rounds.watch(panels);
show();
listen({
  onNews: (news) => {
    if (news?.newest && !state.at) header.newest = news.newest;
    header.show();
    rounds.soon();
  },
  onState: (...line) => {
    header.line = line;
  },
});
