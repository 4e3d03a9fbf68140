// The page, put together: it reads its address, shows the panels, and asks again when there is news.

import { h } from "../shared/dom.js";
import { chooseLang, moment, speak, speaks, t } from "../shared/words.js";
import { browserZone, chooseZone } from "../shared/zone.js";
import { ask } from "./ask.js";
import { Banner } from "./banner.js";
import { afterPaint } from "./charts.js";
import { Choices } from "./choices.js";
import { copy } from "./copy.js";
import { Filters } from "./filters.js";
import { FirstRun } from "./first_run.js";
import { Header, stored } from "./header.js";
import { Keys } from "./keys.js";
import { listen } from "./live.js";
import { withMarks } from "./marks.js";
import { Notice } from "./notice.js";
import { Pages } from "./pages.js";
import { Panel } from "./panel.js";
import { active, loadActive } from "./panels/active.js";
import { alerts } from "./panels/alerts.js";
import { endpoints, withParts } from "./panels/endpoints.js";
import { errors } from "./panels/errors.js";
import { health } from "./panels/health.js";
import { heat, series, totals } from "./panels/overview.js";
import { missing } from "./panels/missing.js";
import { cards, users } from "./panels/people.js";
import { RequestDialog } from "./panels/request.js";
import { requests } from "./panels/requests.js";
import { isOfOne, loadTrail, trail } from "./panels/trail.js";
import { unused } from "./panels/unused.js";
import { Problems } from "./problems.js";
import { Rounds } from "./rounds.js";
import { showSession } from "./session.js";
import { endOf, hasFilters, logAsked, NOW, parameters, PERIODS, read, write } from "./state.js";
import { Trail } from "./trail.js";

const root = document.documentElement;
const $ = (id) => document.getElementById(id);
// An address may name a time without a zone.
chooseZone(stored("zone") ? browserZone : root.dataset.zone);
/** Of a member's page some boxes are missing: what nobody but an admin is told is not asked for. */
const isMember = root.dataset.role === "member";
let { state, misread } = read();

const rounds = new Rounds(() => state);
const overview = rounds.share("overview");
rounds.ahead(overview);
const choices = new Choices();
const filters = new Filters({ change, choices });
const banner = new Banner((at) => change({ ...NOW, at }));
const problems = new Problems();
const notice = new Notice({ dismiss: () => rename({}) });
const chosenLang = () => chooseLang(state.lang, stored("lang"), navigator.languages, root.dataset.lang);
await speak(chosenLang());
/** What alerts told is worded by the server. */
const speakTo = (lang) => {
  rename({ lang });
  panels.find(({ id }) => id === "alerts")?.refresh(state);
};
const header = new Header({ onLang: speakTo, onZone: () => say(), onTheme: () => panels.forEach((panel) => panel.show()) });
const boxes = h("div", { class: "panels" });
const firstRun = new FirstRun({ problems, panels: boxes });
const pages = new Pages();
const dialog = new RequestDialog({
  find: (trace) => ask(`/analytics/panels/request/${trace}`, new URLSearchParams(endOf(state) ? { at: endOf(state) } : {}), new AbortController().signal),
  findParts: (trace, at) => ask(`/analytics/panels/parts/${trace}`, new URLSearchParams({ at }), new AbortController().signal),
  findKept: (trace) => ask(`/analytics/panels/trace/${trace}`, "", new AbortController().signal),
  onclose: () => {
    // What a walk through the history closed stands in no address any more.
    if (!dialog.element.open && (state.request || walk.line)) walk.leave(write((state = { ...state, request: "" })));
  },
});
const walk = new Trail({
  onWalk: () => {
    const [asked, lang] = [logAsked(state), state.lang];
    ({ state, misread } = read());
    if (logAsked(state) !== asked || state.lang !== lang) show({ isOfState: true });
    else overlay();
  },
});

/** What the stream said last: {newest, active}, or null. */
let told = null;

const people = rounds.share("people");
const markers = rounds.share("markers", { filters: [] });
/** Gives a panel's `load` that has what `keyOf` must know as well. */
const withNames = (load) => async (now, signal) => {
  const answer = await load(now, signal);
  if (answer.groups.length) deviceNames = new Set(await choices.of(now).then(({ devices }) => devices, () => []));
  return answer;
};
const own = (path, options) => (now, signal) => ask(path, parameters(now, options), signal);

async function leading(now, signal) {
  const answer = await overview(now, signal).finally(() => {
    rounds.release();
    problems.refresh(signal).then(() => firstRun.say()); // the numbers do not wait for it
  });
  banner.show(answer, now);
  // Of the past, only what came before it is told; and a member is told of their own requests alone.
  if (!endOf(now) && answer.only === null) firstRun.show(answer.newest);
  if (told && told.newest !== answer.newest && !endOf(now)) rounds.soon(); // it came while this was answered
  header.newest = answer.newest;
  ({ only } = answer);
  offerTrail();
  header.answeredAt = new Date().toISOString();
  header.show();
  return answer;
}

// Only an answer may say that nothing is stored.
const nothing = (now) => t(hasFilters(now) ? "empty-filter" : header.newest === null && !only && !endOf(now) ? "empty-store" : "empty-period");
const nobody = () => (header.newest ? t("empty-active", { time: moment(header.newest, "full") }) : t(header.newest === null && !only ? "empty-store" : "empty-active-now"));

const panels = [
  new Panel({ id: "totals", title: "overview", isLead: true, wide: "full", lines: 2, load: leading, render: totals, empty: nothing }),
  new Panel({ id: "requests-by-hour", title: "series", isOfLead: true, wide: "two", lines: 7, load: withMarks(overview, markers), render: series, empty: nothing }),
  new Panel({ id: "active", title: "active", follows: [], lines: 5, load: loadActive, render: active, empty: nobody }),
  new Panel({ id: "users", title: "users", wide: "full", lines: 6, load: people, render: users, empty: nothing }),
  new Panel({ id: "heat", title: "heat", isOfLead: true, wide: "two", lines: 7, load: overview, render: heat, empty: nothing }),
  new Panel({ id: "cards", title: "cards", lines: 5, load: people, render: cards, empty: (now) => t(hasFilters(now) ? "empty-filter" : "empty-cards") }),
  new Panel({ id: "endpoints", title: "endpoints", wide: "full", lines: 6, load: withParts(own("/analytics/panels/endpoints"), own("/analytics/panels/parts")), render: endpoints, empty: nothing }),
  new Panel({ id: "unused", title: "unused", isOfAdmins: true, follows: [], wide: "full", lines: 4, load: (now, signal) => ask("/analytics/unused-endpoints", endOf(now) ? new URLSearchParams({ at: endOf(now) }) : null, signal), render: unused, empty: () => t("empty-unused") }),
  new Panel({ id: "missing", title: "missing", wide: "full", lines: 4, load: own("/analytics/panels/missing"), render: missing, empty: () => t("empty-missing") }),
  new Panel({ id: "alerts", title: "alerts", isOfAdmins: true, follows: [], wide: "full", lines: 3, load: (_now, signal) => ask("/analytics/alerts", `limit=20&lang=${chosenLang()}`, signal), render: alerts, empty: () => t("empty-alerts") }),
  new Panel({ id: "health", title: "health", isOfAdmins: true, follows: ["service"], wide: "full", lines: 8, load: withMarks(own("/analytics/panels/health", { filters: ["service"] }), markers), render: health, empty: (now) => t(endOf(now) ? "empty-period" : "empty-store") }),
  new Panel({
    id: "errors", title: "errors", follows: [], wide: "full", lines: 5, load: withNames(own("/analytics/panels/errors", { filters: [] })), empty: () => t("empty-errors"),
    render: (answer, now, panel) => errors(answer, now, panel, { open: openTrace, keyOf, isMember }),
  }),
  new Panel({
    id: "trail", title: "trail", isLog: true, wide: "full", lines: 4, load: loadTrail, empty: nothing,
    render: (answer, now, panel) => trail(answer, now, panel, { open }),
  }),
  new Panel({
    id: "requests", title: "requests", isLog: true, wide: "full", lines: 8, load: (now, signal) => pages.load(now, signal), empty: nothing,
    render: (answer, now, panel) => requests(answer, now, panel, { open, more: () => pages.more(panel) }),
  }),
].filter((panel) => !(panel.isOfAdmins && isMember));

/** A name of which nobody says what it is: a device's, where it is one that filters offer. */
let deviceNames = new Set();
const keyOf = (name) => (deviceNames.has(name) ? "device" : "user");

/** The member whom the page shows alone, or null. */
let only = null;

/** A trail is of one person: with several, and with nobody chosen, there is no box for it. */
function offerTrail() {
  panels.find((panel) => panel.id === "trail").offer(isOfOne(state, only));
}

function open(line) {
  walk.once(() => {
    state = { ...state, request: line.trace_id ?? "" };
    walk.step(write(state), line);
    overlay();
  });
}

function openTrace(trace) {
  walk.once(() => {
    state = { ...state, request: trace };
    walk.step(write(state));
    overlay();
  });
}

/** Shows the request that the address or the history names, or none. Gives, of one that must be asked for, when it is shown. */
function overlay() {
  if (walk.line) dialog.showLine(walk.line);
  else if (state.request) return dialog.showTrace(state.request);
  else dialog.close();
  return null;
}

/** Changes what the page shows. */
function change(next) {
  walk.once(() => {
    const before = write(state);
    state = { ...state, ...next };
    misread = [];
    if (write(state) === before) return;
    walk.step(write(state));
    show({ isOfState: true }).then(keepFocus);
  });
}

/** Changes how the page shows it: no step that somebody would want to go back. */
function rename(next) {
  state = { ...state, ...next };
  misread = [];
  walk.rename(write(state));
  say();
  keepFocus();
}

/** What had the focus may be gone: a keyboard then goes on at the numbers, not at the top of the page. */
function keepFocus() {
  if (document.activeElement === document.body) $("main").focus({ preventScroll: true });
}

/** Says everything in the language of now; of the panels, where only the state is new, nothing: they will be answered anew. */
function say({ isOfState = false } = {}) {
  if (!("said" in root.dataset)) root.dataset.said = "";
  const lang = chosenLang();
  if (!speaks(lang)) {
    speak(lang).then(() => say(), (error) => console.error(error));
    return;
  }
  const isKnown = isOfState && root.lang === lang;
  if (root.lang !== lang) root.lang = lang; // the same one again would be styled anew, too
  header.say(state, { isKnown });
  filters.render(state, root.lang);
  notice.show(misread);
  banner.say();
  problems.say();
  firstRun.say();
  if (!isKnown) for (const panel of panels) panel.show();
}

function show(how) {
  offerTrail();
  // What is asked first is answered while the page says the rest.
  const answered = rounds.now(overlay());
  say(how);
  return answered.then(() => { $("said").textContent = t("said-shown"); });
}

document.addEventListener("narrow", (event) => {
  change(event.detail.next);
  if (event.detail.stays) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  if (event.detail.to) $(event.detail.to).scrollIntoView({ behavior });
  else scrollTo({ top: 0, behavior });
});

function pause() {
  rounds.isPaused = !rounds.isPaused;
  header.paused = rounds.isPaused;
  if (!rounds.isPaused) rounds.soon();
}

/** Gives a link that shows the same whenever it is opened: its time stands still. */
function pinned() {
  const shown = panels[0].answer?.window;
  return `${location.origin}${write(shown ? { ...state, ...NOW, from: shown.from, to: shown.to } : state).replace(/^\?/, `${location.pathname}?`)}`;
}

const keys = new Keys({
  "/": ["key-find", () => filters.focus()],
  p: ["key-pause", pause],
  l: ["key-link", () => copy($("pin"), pinned())],
  x: ["key-clear", () => filters.clearAll()],
  n: ["key-now", () => change(NOW)],
  ...Object.fromEntries(PERIODS.map((period, place) => [String(place + 1), [`period-${period}`, () => change({ ...NOW, at: endOf(state), period })]])),
});
$("pause").addEventListener("click", pause);
$("pin").addEventListener("click", () => copy($("pin"), pinned()));
const printAll = () => rounds.showAll().then(() => afterPaint(print));
$("print").addEventListener("click", printAll);
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "p") return;
  event.preventDefault();
  printAll();
});
// The browser's own menu waits for nothing: what it prints without numbers says so (`.skeleton`), and has them the next time.
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll(".on-paper")) one.textContent = t("not-on-paper");
  rounds.showAll();
});
$("help").addEventListener("click", () => keys.open());

boxes.append(...panels.map((panel) => panel.element));
$("filters").append(filters.element);
$("main").append(notice.element, problems.element, firstRun.element, boxes, banner.element);
document.body.append(dialog.element, keys.sheet);
for (const panel of panels) panel.lead = panels[0];
panels[0].onFailure = () => panels.forEach((panel) => panel.tellFailure());
rounds.watch(panels);
show();

/** Tells whether there is anything to ask for: the first word of the stream says what the page was just answered. */
function isNews(news) {
  if (!news) return true; // without a stream nobody knows
  if (told) return news.newest !== told.newest || news.active !== told.active;
  return header.newest !== undefined && news.newest !== header.newest;
}

const follow = () => listen({
  hasStream: !isMember,
  onNews: (news) => {
    const isNew = isNews(news);
    told = news;
    if (news?.newest && !endOf(state)) header.newest = news.newest;
    header.show();
    if (isNew) rounds.soon();
  },
  onState: (...line) => {
    header.line = line;
  },
});
// What says nothing of the numbers does not keep the server from them.
rounds.led.then(() => {
  showSession();
  follow();
});
