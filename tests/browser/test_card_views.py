"""Cards from the screen to the answer: a real browser, a real nginx, its log, `tailtrace serve`."""

import json
import re
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS

pytestmark = [pytest.mark.chromium, pytest.mark.nginx]
DOCS = Path(__file__).parents[2] / "docs" / "cards.md"
SCRIPT = "/tailtrace/static/js/components/card-views.js"
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>cards</title><link rel="icon" href="data:,">'
HOSTILE = ("<img src=x onerror=alert(1)>", "a&variant=Z", "a#B", "a\u202eb%41", "ñ 🍫")


@pytest.fixture(scope="module")
def site(tmp_path_factory, serving):
    """A page's nginx, configured as the docs say, and tailtrace behind it: its folder, nginx, tailtrace's address."""
    folder = tmp_path_factory.mktemp("cards")
    (folder / "web").mkdir()
    (block,) = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    log = folder / "page.log"
    log.touch()
    with serving(folder, TAILTRACE_LOG=str(log), TAILTRACE_POLL_MS="50", TAILTRACE_SPAN_WAIT_MS="100") as url:
        here = block.replace("127.0.0.1:8470", urlsplit(url).netloc)
        assert here != block
        with NginxServer(f'root "{folder / "web"}";\n{here}', log=log) as nginx:
            yield folder / "web", nginx, url


class Visit:
    """A page with cards in a browser, and the views that its nginx wrote down since."""

    def __init__(self, site, open_page, body, *, script=SCRIPT):
        self.folder, self.nginx, self.url = site
        (self.folder / "page.html").write_text(
            f'{HEAD}<body style="margin:0">{body}<script type="module" src="{script}"></script>', encoding="utf-8"
        )
        self.place = self.nginx.log.stat().st_size
        self.page = open_page(f"{self.nginx.url}/page.html", ready="body")
        self.page.wait_for_load_state("networkidle")

    def views(self):
        lines = self.nginx.log.read_bytes()[self.place :].decode().splitlines()
        uris = [line.split("\t")[1 + TAILTRACE_FIELDS.index("request_uri")] for line in lines]
        return [dict(parse_qsl(urlsplit(uri).query)) for uri in uris if uri.startswith("/_tailtrace/view")]

    def cards(self):
        return sorted(view["card"] for view in self.views())

    def wait(self, count):
        end = time.monotonic() + 5
        while len(self.views()) < count and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        self.page.wait_for_timeout(1500)  # longer than a view takes: were there more, they would be here
        return self.cards()


def card(name, height=200, *, more=""):
    from html import escape

    return f'<section data-tailtrace-card="{escape(name)}" style="height:{height}px" {more}>x</section>'


@pytest.fixture
def visit(site, open_page):
    return lambda body, **options: Visit(site, open_page, body, **options)


def test_a_card_counts_once_when_it_is_seen_and_the_answer_has_it(visit):
    spacer = '<div style="height:3000px"></div>'
    seen = visit(card("prices") + card("prices") + card("energy") + spacer + card("below"))
    assert seen.wait(2) == ["energy", "prices"]
    seen.page.evaluate("scrollTo(0, 9999)")
    assert seen.wait(3) == ["below", "energy", "prices"]
    seen.page.evaluate("scrollTo(0, 0)")
    assert seen.wait(3) == ["below", "energy", "prices"], "once for each view of the page"
    seen.page.reload()
    assert seen.wait(5) == ["below", "energy", "energy", "prices", "prices"]
    end = time.monotonic() + 5
    expected = {"prices": 2, "energy": 2, "below": 1}
    while time.monotonic() < end:
        answer = httpx.get(f"{seen.url}/analytics/dashboard-usage").json()["most_viewed_cards"]
        views = {row["card"]: row["views"] for row in answer if row["card"] in expected}
        if views == expected:
            break
        time.sleep(0.05)
    assert views == expected


def test_a_glance_is_no_view(visit):
    spacer = '<div style="height:3000px"></div>'
    seen = visit(spacer + card("glanced") + spacer + card("half", 400))
    page = seen.page
    for _ in range(2):
        page.evaluate("scrollTo(0, 2800)")
        page.wait_for_timeout(300)  # of the second that a view takes: much less, for a machine that is busy
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(100)
    assert seen.cards() == []
    height = page.evaluate("innerHeight")
    page.evaluate(f"scrollTo(0, 6200 + 160 - {height})")  # 160 of 400 pixels
    assert seen.wait(0) == []
    page.evaluate(f"scrollTo(0, 6200 + 220 - {height})")
    assert seen.wait(1) == ["half"]


def test_a_card_taller_than_the_window_can_be_seen(visit):
    assert visit(card("tall", 9000)).wait(1) == ["tall"]


def test_a_page_in_the_background_is_not_looked_at(visit):
    seen = visit("<h1>Cards</h1><main></main>")
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}}); document.dispatchEvent(new Event('visibilitychange'))"
    seen.page.evaluate(hide.format("true"))
    seen.page.evaluate(
        "document.querySelector('main').innerHTML = '<p data-tailtrace-card=\"hidden\" style=\"height:99px\">x</p>'"
    )
    assert seen.wait(0) == []
    seen.page.evaluate(hide.format("false"))
    assert seen.wait(1) == ["hidden"]


def test_cards_that_come_change_and_go(visit):
    seen = visit("<h1>Cards</h1><main></main>")
    seen.page.evaluate(
        """() => {
            const make = (name) => {
                const made = document.createElement("p");
                made.dataset.tailtraceCard = name;
                made.style.height = "50px";
                return made;
            };
            const wrapper = document.createElement("div");
            wrapper.append(make("nested"));
            const renamed = make("before"), gone = make("gone");
            const plain = document.createElement("p");
            plain.textContent = "a card only later";
            document.querySelector("main").append(wrapper, renamed, gone, plain);
            setTimeout(() => {
                renamed.dataset.tailtraceCard = "after";
                plain.dataset.tailtraceCard = "later";
                gone.remove();
            }, 500);
        }"""
    )
    assert seen.wait(3) == ["after", "later", "nested"]
    seen.page.evaluate(f"import({json.dumps(SCRIPT)}).then((cards) => cards.countAgain())")
    assert seen.wait(6) == ["after", "after", "later", "later", "nested", "nested"]


def test_hostile_names_stay_names(visit):
    bad = [*HOSTILE, "x" * 65, " "]
    seen = visit(
        "".join(card(name, 40, more='data-tailtrace-variant="B"') for name in bad)
        + card("v", 40, more='data-tailtrace-variant="no good"')
    )
    assert seen.wait(6) == sorted([*HOSTILE, "v"])
    assert {view.get("variant") for view in seen.views() if view["card"] != "v"} == {"B"}
    assert [view for view in seen.views() if view["card"] == "v"] == [{"card": "v"}]
    stored = ("<img src=x onerror=alert(1)>", "a&variant=Z", "a#B", "a\\u202eb%41", "ñ 🍫", "v")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        rows = httpx.get(f"{seen.url}/analytics/dashboard-usage").json()["most_viewed_cards"]
        if {row["card"] for row in rows} >= set(stored):
            break
        time.sleep(0.05)
    assert {row["card"]: row["views"] for row in rows if row["card"] in stored} == dict.fromkeys(stored, 1)
    (row,) = httpx.get(f"{seen.url}/analytics/variants", params={"card": "a#B"}).json()["variants"]
    assert (row["variant"], row["views"], row["users"]) == ("B", 1, 1)


def test_the_widget_brings_it_along_and_both_together_count_once(visit):
    widget = SCRIPT.replace("card-views", "analytics-widget")
    seen = visit(
        f'{card("prices")}<tailtrace-widget></tailtrace-widget><script type="module" src="{SCRIPT}"></script>',
        script=widget,
    )
    seen.page.locator("tailtrace-widget h2").wait_for()
    assert seen.wait(1) == ["prices"]
    seen.page.locator("tailtrace-widget footer:not(.stale) span").wait_for(state="attached")
    asked = seen.page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)")
    assert "/tailtrace/analytics/widget" in asked
    assert "tailtrace/analytics" not in seen.nginx.log.read_text(), "what the widget asks is no usage"


def test_a_failed_count_disturbs_nobody(visit):
    seen = visit('<meta name="tailtrace-view" content="http://127.0.0.1:9/nobody">' + card("lost"))
    assert seen.wait(0) == []
    assert seen.page.evaluate("document.body.innerText") == "x"
    assert all("ERR_" in said for said in seen.page.said), "the browser's own word about the network, no exception"
    seen.page.said.clear()


ASSIGN = f"(args) => import({json.dumps(SCRIPT)}).then((cards) => cards.assignVariant(...args))"


def test_a_variant_stays_with_the_browser_or_the_user(visit):
    page = visit("x").page
    mine = [page.evaluate(ASSIGN, [f"card-{number}", ["A", "B"]]) for number in range(12)]
    assert set(mine) == {"A", "B"}
    page.reload()
    assert [page.evaluate(ASSIGN, [f"card-{number}", ["A", "B"]]) for number in range(12)] == mine
    assert re.fullmatch(r"[0-9a-f]{32}", page.evaluate("localStorage.getItem('tailtrace-id')"))
    assert [page.evaluate(ASSIGN, ["prices", ["A", "B"], user]) for user in ("ana", "ben", "eva", "leo")] == [
        "A", "B", "B", "A",
    ]  # fmt: skip


def test_variants_are_spread_evenly_and_anew_for_each_card(visit):
    page = visit("x").page
    counts = page.evaluate(
        f"""import({json.dumps(SCRIPT)}).then(({{assignVariant}}) => {{
            const counts = {{}};
            for (let user = 0; user < 9000; user += 1) {{
                const pair = assignVariant("one", ["A", "B"], user) + assignVariant("two", ["A", "B", "C"], user);
                counts[pair] = (counts[pair] ?? 0) + 1;
            }}
            return counts;
        }})"""
    )
    assert set(counts) == {"AA", "AB", "AC", "BA", "BB", "BC"}
    # Chi-squared with 5 degrees of freedom: 20.5 is passed by one even spread in a thousand.
    assert sum((count - 1500) ** 2 / 1500 for count in counts.values()) < 20.5
