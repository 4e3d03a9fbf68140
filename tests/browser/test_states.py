"""axe in each state that the page can be in: what is open, filtered, empty, failed, of the past; wide and on a phone."""

import time
from pathlib import Path

import pytest
from tests.browser.test_waterfall import TRACE, few, kept

pytestmark = [pytest.mark.chromium, pytest.mark.long]
AXE = Path(__file__).parents[2] / "api/web/node_modules/axe-core/axe.min.js"
# Of itself axe leaves out how large a target is (WCAG 2.5.8).
RUN = "(where) => axe.run(where, {rules: {'target-size': {enabled: true}}}).then(({violations}) => violations)"
ANA = "ana@factory.example"
LONG = "a-name-that-has-no-end-" * 8
WIDER = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def full(tmp_path_factory, serving, row):
    """A store with a bit of everything: a kept trace, a group of errors, an outage, 404s, a card, long names."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    folder = tmp_path_factory.mktemp("full")
    kept(folder, few)
    now_us = time.time_ns() // 1000
    people = [(ANA, "ana-pc"), (ANA, "ana-phone"), (f"{LONG}@x.example", LONG)]
    rows = [
        row(100 + n, *people[n % 3], f"/{LONG if n % 5 == 0 else 'page'}", at_us=now_us - n * 60_000_000,
            status=404 if n % 7 == 0 else 200)
        for n in range(1, 60)
    ]  # fmt: skip
    rows += [row(300 + n, ANA, "ana-pc", "/down", at_us=now_us - 1800_000_000 + n, status=500) for n in range(6)]
    rows.append(
        row(400, ANA, "ana-pc", "/_tailtrace/view?card=prices#A", status=204, traffic="card", at_us=now_us - 9_000_000)
    )
    store = SqliteStore(folder / "t.db")
    store.write(rows)
    store.close()
    with serving(folder) as url:
        yield url


def escape(page):
    page.keyboard.press("Escape")
    page.until("!document.querySelector('dialog[open]')")


def to(page, query):
    """Look at an address, with all its boxes."""
    page.goto(page.url.split("?")[0] + query)
    page.wait_for_selector("#totals dl, #totals .problem:not([hidden])")
    page.until("!document.querySelector('.panel:not([hidden]) .panel-body[aria-busy]')")


def settle(page, asked):
    """Wait until no panel asks: what waits for its answer is pale, and not what is looked at here.

    The first one asks up to 300 ms before the others, and what was asked looks pale after 300 ms.
    """
    before = -1
    while before != len(asked):
        before = len(asked)
        page.wait_for_timeout(700)
        page.until("!document.querySelector('.is-waiting')")


def fail_all(page):
    page.route("**/analytics/panels/**", lambda route: route.fulfill(status=503, json={"detail": "the disk is full"}))
    page.get_by_label("7 days").check()
    page.locator("#totals [role=alert]").wait_for()


def fail_first_then_all(page):
    """One without an answer has all asked again: who had one before keeps it, and says of when it is."""
    page.route("**/analytics/panels/overview?**", lambda route: route.fulfill(status=503, json={"detail": "busy"}))
    page.get_by_label("7 days").check()
    page.locator("#totals [role=alert]").wait_for()
    page.until("!document.querySelector('.panel:not([hidden]) .panel-body[aria-busy]')")
    page.route("**/analytics/panels/**", lambda route: route.fulfill(status=503, json={"detail": "the disk is full"}))
    page.locator(".panel.is-old").first.wait_for()


def mend(page):
    page.unroute("**/analytics/panels/**")
    to(page, "")


# a state: how one comes there, what axe looks at, how one leaves it
STATES = {
    "all boxes": (lambda _page: None, "main", None),
    "a word explained": (lambda page: page.locator("#totals .of").first.click(), ".hint", escape),
    "keys": (lambda page: page.keyboard.press("?"), "dialog.keys", escape),
    "a request": (lambda page: page.locator("#requests button.path").first.click(), "dialog.request", escape),
    "a chart's table": (lambda page: page.locator("#requests-by-hour summary").click(), "#requests-by-hour", None),
    "an hour chosen": (lambda page: page.locator("#heat tbody td").nth(30).click(), "#heat", None),
    "who saw a card": (lambda page: page.locator("#cards .seen summary").first.click(), "#cards", None),
    "a sorted table": (lambda page: page.locator("#users thead button").first.click(), "#users", None),
    "a sorted list": (lambda page: to(page, "?sort=path-asc"), "#requests", None),
    "paused": (lambda page: page.locator("#pause").click(), ".top", lambda page: page.locator("#pause").click()),
    "filtered, with a trail": (lambda page: to(page, f"?user={ANA}&status=2xx&path=a&all=1"), "body", None),
    "nothing found": (lambda page: to(page, "?user=nobody"), "main", None),
    "the past": (lambda page: to(page, "?from=2025-10-07T12:00:00Z&to=2025-10-08T12:00:00Z"), "main", None),
    "a year by months": (lambda page: to(page, "?period=1y"), "#requests-by-hour, #health", None),
    "not understood": (lambda page: to(page, "?period=9h&colour=red"), ".notice", None),
    "a trace": (lambda page: (to(page, f"?request={TRACE}"), page.locator(".waterfall").wait_for()), "dialog", escape),
    "no such request": (lambda page: (to(page, "?request=" + "9" * 32), page.locator("dialog .empty").wait_for()), "dialog", escape),
    "no answer": (fail_all, "body", mend),
    "old numbers": (fail_first_then_all, "body", mend),
}  # fmt: skip


def violations(page, where):
    places = [one.strip() for one in where.split(",")]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in page.evaluate(RUN, {"include": places})
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "locale", "phone"), [("light", "en-GB", False), ("dark", "es-ES", True)])
def test_axe_finds_nothing_in_any_state(full, open_page, show_all, scheme, locale, phone):
    page = open_page(f"{full}/?lang=en" if not phone else full, scheme=scheme, locale=locale, phone=phone)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    show_all(page)
    axe = AXE.read_text(encoding="utf-8")
    found = {}
    for name, (come, where, leave) in STATES.items():
        if come in (fail_all, fail_first_then_all) and phone:
            continue  # their label is English; the boxes are the same
        come(page)
        settle(page, asked)
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe)  # through the debugger, which no policy of the page binds
        found[name] = [*violations(page, where), *(["wider than the window"] if page.evaluate(WIDER) else [])]
        if leave:
            leave(page)
    if phone:
        page.locator(".opener").click()
        found["fields open"] = violations(page, "#filters")
    page.said[:] = [said for said in page.said if "503" not in said and "404" not in said]
    assert {name: one for name, one in found.items() if one} == {}


@pytest.mark.parametrize("lang", ["en", "es"])
def test_axe_finds_nothing_on_an_empty_store_and_at_the_login(tmp_path, serving, open_page, lang):
    axe = AXE.read_text(encoding="utf-8")
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang={lang}", ready=".first-run ol")
        page.evaluate(axe)
        assert violations(page, "body") == []
        page.goto(f"{url}/login")
        page.wait_for_selector("h1")
        page.evaluate(axe)
        assert violations(page, "body") == []


def test_it_prints(full, open_page, show_all):
    """On paper nothing is cut: no box scrolls, and what only a screen can use is not there."""
    page = open_page(full)
    show_all(page)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})  # A4
    assert page.locator(".tools, .foot, .skip").evaluate_all("(all) => all.every((one) => !one.checkVisibility())")
    assert page.locator("#totals .tile").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 794


def test_what_was_never_scrolled_to_is_printed_with_its_numbers(full, open_page):
    waiting = "document.querySelectorAll('.panel:not([hidden]) .skeleton').length"
    page = open_page(full)
    page.evaluate("void (window.print = () => { window.printed = document.body.innerText; })")
    assert page.evaluate(waiting) > 0
    # The browser's menu waits for nothing: what it prints without numbers says so.
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert "not there yet" in page.locator("#requests .on-paper").text_content()
    page.emulate_media(media="screen")
    page.reload()
    page.wait_for_selector("#totals dl")
    page.evaluate("void (window.print = () => { window.printed = document.body.innerText; })")
    page.keyboard.press("Control+p")
    page.until("window.printed")
    assert page.evaluate(waiting) == 0
    assert "not there yet" not in page.evaluate("window.printed")


def test_each_column_of_the_endpoints_is_in_sight_on_a_laptop(full, open_page, show_all):
    page = open_page(full)
    show_all(page)
    assert page.locator("#endpoints tbody tr:first-child > *").count() >= 12
    for width in (1024, 1280, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(
            "(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)(document.querySelector('#endpoints .scroll'))"
        ), width
