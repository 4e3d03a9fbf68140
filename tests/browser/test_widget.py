"""The widget in a page of another origin, under the strictest policy: numbers, languages, colours, and in trouble."""

import json
import re
import socket
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.chromium
ROOT = Path(__file__).parents[2]
SCRIPT = "/static/js/components/analytics-widget.js"
NUMBERS = "tailtrace-widget dd"


def page_with(url, *, lang="en", attributes="", head=""):
    return f"""<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>elsewhere</title>{head}
        <script type="module" src="{url}{SCRIPT}"></script></head>
        <body><tailtrace-widget {attributes}></tailtrace-widget></body></html>"""


def strict(url):
    return (
        f"default-src 'none'; script-src {url}; connect-src {url}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory, serving, serving_elsewhere, filled):
    """A factory whose widget pages of one origin may show: the origin, tailtrace's address, and who serves that page."""
    folder = tmp_path_factory.mktemp("widget")
    filled(folder, 20)
    with serving_elsewhere() as server, serving(folder, TAILTRACE_CORS_ORIGINS=json.dumps([server.origin])) as url:
        yield server, url


def show(shown, open_page, *, ready=NUMBERS, policy=True, origin=None, **options):
    server, url = shown
    in_page = {name: options.pop(name) for name in ("lang", "attributes", "head") if name in options}
    server.html, server.policy = page_with(url, **in_page), strict(url) if policy else ""
    return open_page(origin or server.origin, ready=ready, **options)


def text(page, selector):
    return [re.sub(r"\s+", " ", one).strip() for one in page.locator(f"tailtrace-widget {selector}").all_inner_texts()]


def test_it_shows_what_the_api_says_under_the_strictest_policy(shown, open_page):
    page = show(shown, open_page)
    answer = httpx.get(f"{shown[1]}/analytics/widget").json()
    assert text(page, "h2") == ["📊 Analytics Last Week"]
    assert [int(re.sub(r"\D", "", one)) for one in text(page, "dd")] == [
        answer["total_sessions"],
        answer["unique_users"],
    ]
    assert answer["total_sessions"] > 10
    columns = page.locator("tailtrace-widget .bars i")
    heights = [round(columns.nth(day).bounding_box()["height"]) for day in range(7)]
    most = max(day["requests"] for day in answer["by_day"])
    # A half is rounded up, as JavaScript does; Python's round() takes the even one.
    assert heights == [max(2, int(72 * day["requests"] / most + 0.5)) for day in answer["by_day"]]
    assert [int(re.sub(r"\D", "", one)) for one in text(page, "td")] == [day["requests"] for day in answer["by_day"]]
    assert answer["by_day_in_part"] == [6], "today is not over"
    assert [place for place in range(7) if columns.nth(place).locator("..").get_attribute("class") == "part"] == [6]
    assert "(in part)" in page.locator("tailtrace-widget tbody tr").last.text_content()
    first = answer["top_features"][0]
    assert text(page, "li")[0] == f"{first['feature']} ({first['requests']:,} accesses)"
    assert len(text(page, "li")) == len(answer["top_features"]) == 5
    assert re.fullmatch(r"Updated \d\d:\d\d", text(page, "footer")[0])


def test_spanish_by_the_page_or_by_its_own_word(shown, open_page):
    page = show(shown, open_page, lang="es-MX")
    assert text(page, "h2") == ["📊 Analytics Última Semana"]
    assert text(page, "dt") == ["sesiones", "usuarios únicos"]
    first = httpx.get(f"{shown[1]}/analytics/widget").json()["top_features"][0]
    assert re.fullmatch(rf"{re.escape(first['feature'])} \([\d,.]+ accesos\)", text(page, "li")[0])
    page.evaluate("document.querySelector('tailtrace-widget').lang = 'en'")
    assert text(page, "h2") == ["📊 Analytics Last Week"]
    page.evaluate("document.querySelector('tailtrace-widget').setAttribute('days', '14')")
    page.until("document.querySelector('tailtrace-widget').shadowRoot.querySelectorAll('.bars div').length === 14")
    assert text(page, "h2") == ["📊 Analytics, last 14 days"]


def test_a_framework_sets_properties(shown, open_page):
    page = show(shown, open_page, head="<script>document.addEventListener('DOMContentLoaded', () => "
                "{ document.querySelector('tailtrace-widget').days = 5 })</script>", policy=False)  # fmt: skip
    count = "document.querySelector('tailtrace-widget').shadowRoot.querySelectorAll('.bars > div').length"
    page.until(f"{count} === 5")  # set before the script came, or after
    page.evaluate("document.querySelector('tailtrace-widget').days = 14")
    page.until(f"{count} === 14")
    page.evaluate("document.querySelector('tailtrace-widget').service = 'nobody.example'")
    page.until("document.querySelector('tailtrace-widget').shadowRoot.textContent.includes('Nobody has used')")
    page.evaluate("Object.assign(document.querySelector('tailtrace-widget'), { service: undefined, days: null })")
    page.until(f"{count} === 7")
    assert page.locator("tailtrace-widget").get_attribute("days") is None


def test_what_it_has_before_it_stands_in_the_page_is_asked_for_once(shown, open_page):
    page = show(shown, open_page, attributes='days="5" lang="en" refresh="3600"')
    made = """(made) => { Object.assign(made, { days: 14, refresh: 3600 }); made.setAttribute('lang', 'en');
        document.body.append(made) }"""
    asked = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/analytics/widget?'))"
    assert [one.partition("?")[2] for one in page.evaluate(f"{asked}.map((one) => one.name)")] == ["days=5"]
    page.evaluate(f"({made})(document.createElement('tailtrace-widget'))")
    page.until(
        "document.querySelectorAll('tailtrace-widget')[1].shadowRoot.querySelectorAll('.bars > div').length === 14"
    )
    assert [one.partition("?")[2] for one in page.evaluate(f"{asked}.map((one) => one.name)")] == ["days=5", "days=14"]


def test_in_a_narrow_column_names_have_room(shown, open_page):
    style = "<style>tailtrace-widget { width: 260px }</style>"
    page = show(shown, open_page, head=style, attributes='days="10"', policy=False)
    cut = """[...document.querySelector('tailtrace-widget').shadowRoot.querySelectorAll('li span, dt, h2, .bars small')]
        .filter((one) => getComputedStyle(one).visibility === 'visible' && one.scrollWidth > one.clientWidth + 1)
        .map((one) => one.textContent)"""
    assert page.evaluate(cut) == []
    assert len(text(page, "li span")) == 5
    assert page.evaluate(
        "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.querySelector('tailtrace-widget'))"
    ) == 0  # fmt: skip


def colours(page):
    return page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])"
        "(getComputedStyle(document.querySelector('tailtrace-widget').shadowRoot.querySelector('section')))"
    )


LIGHT, DARK = ["rgb(255, 255, 255)", "rgb(26, 33, 31)"], ["rgb(21, 28, 26)", "rgb(231, 237, 235)"]


def test_light_and_dark_go_with_the_page(shown, open_page):
    dark_page = '<meta name="color-scheme" content="light dark">'
    assert colours(show(shown, open_page)) == LIGHT
    assert colours(show(shown, open_page, scheme="dark")) == LIGHT, "a page that knows no dark keeps a light card"
    assert colours(show(shown, open_page, scheme="dark", head=dark_page)) == DARK
    assert colours(show(shown, open_page, scheme="dark", attributes='theme="auto"')) == DARK
    assert colours(show(shown, open_page, attributes='theme="dark"')) == DARK
    assert colours(show(shown, open_page, scheme="dark", head=dark_page, attributes='theme="light"')) == LIGHT


def test_the_page_sets_colours_and_nothing_else(shown, open_page):
    style = """<style>tailtrace-widget { --tailtrace-background: rgb(1, 2, 3) } section, h2 { display: none !important }
        * { color: red !important }</style>"""
    page = show(shown, open_page, head=style, policy=False)
    assert colours(page)[0] == "rgb(1, 2, 3)"
    assert page.locator("tailtrace-widget h2").is_visible()
    assert page.evaluate("document.body.attributeStyleMap.size + document.styleSheets.length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(shown, open_page, scheme):
    axe = (ROOT / "api/web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    page = show(shown, open_page, attributes=f'theme="{scheme}"')
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run('tailtrace-widget').then(({violations, passes}) => ({violations, passes: passes.length}))"
    )
    assert found["passes"] > 5
    assert [(one["id"], [node["failureSummary"] for node in one["nodes"]]) for one in found["violations"]] == []


def test_a_page_that_is_not_allowed_is_told_so(shown, open_page):
    other = shown[0].origin.replace("127.0.0.1", "localhost")
    page = show(shown, open_page, ready="tailtrace-widget [role=alert]", origin=other, policy=False)
    assert text(page, ".note") == [
        f"tailtrace does not let this page read its numbers. Add {other} to TAILTRACE_CORS_ORIGINS and start tailtrace again."
    ]
    assert any("No 'Access-Control-Allow-Origin' header" in said for said in page.said)
    page.said.clear()


def test_away_and_back(tmp_path, serving, filled, elsewhere, open_page):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {"TAILTRACE_LISTEN": listen, "TAILTRACE_CORS_ORIGINS": json.dumps([elsewhere.origin])}
    filled(tmp_path, 8)
    with serving(tmp_path, **settings) as url:
        elsewhere.html, elsewhere.policy = page_with(url), strict(url)
        page = open_page(elsewhere.origin, ready=NUMBERS)
        before = text(page, "dd")
    wake = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(wake)
    page.locator("tailtrace-widget footer.stale").wait_for()
    assert text(page, "dd") == before, "old numbers stay"
    (said,) = text(page, "footer")
    assert re.fullmatch(r"Numbers of \d\d:\d\d\. tailtrace does not answer\. Trying again in 5 s\. Try now", said)
    with serving(tmp_path, **settings):
        page.locator("tailtrace-widget footer:not(.stale)").wait_for()  # by itself, within seconds
        assert text(page, "dd") == before
        assert text(page, "button") == []
    page.evaluate("document.querySelector('tailtrace-widget').setAttribute('days', '6')")
    alert = page.locator("tailtrace-widget [role=alert]")
    alert.wait_for()
    assert alert.inner_text().startswith("tailtrace does not answer. Trying again in 5 s.")
    page.locator("tailtrace-widget button").focus()
    page.keyboard.press("Enter")
    page.until("document.querySelector('tailtrace-widget').shadowRoot.textContent.includes('in 10 s')")
    page.said.clear()


def fulfilled(answer):
    return lambda route: route.fulfill(**answer)


def test_nothing_yet_and_errors_say_so(tmp_path, serving, elsewhere, open_page):
    with serving(tmp_path, TAILTRACE_CORS_ORIGINS=json.dumps([elsewhere.origin])) as url:
        elsewhere.html, elsewhere.policy = page_with(url), strict(url)
        page = open_page(elsewhere.origin, ready="tailtrace-widget .note")
        assert text(page, ".note") == ["Nobody has used anything in this time. Numbers appear here by themselves."]
        for days, status, says in (
            (5, 503, "tailtrace answers with an error (503)."),
            (6, 403, "You may not see these numbers."),
        ):
            answer = {"status": status, "headers": {"access-control-allow-origin": elsewhere.origin}}
            page.route("**/analytics/widget*", fulfilled(answer))
            page.evaluate(f"document.querySelector('tailtrace-widget').setAttribute('days', '{days}')")
            page.until(
                f"document.querySelector('tailtrace-widget').shadowRoot.textContent.includes({json.dumps(says)})"
            )
            page.unroute("**/analytics/widget*")
        page.said.clear()


HOSTILE = ("<img src=x onerror=alert(1)>", "\"'><script>alert(1)</script>", "{n}{s}${7*7}")


def test_strangers_words_are_only_text(tmp_path, serving, elsewhere, open_page):
    import time

    from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    who = Identity("100.64.0.9", "user", "a@example.com", "d", "n1", "", "static")
    for number, name in enumerate(HOSTILE):
        at_us = time.time_ns() // 1000 - 1_000_000
        access = Access(at_us, number, who.address, "GET", "/x", 200, 1, None, True, 1, "", "", "", "", "")
        store.write([Row(access, who, name, Traffic.APP, None, "")])
    store.close()
    with serving(tmp_path, TAILTRACE_CORS_ORIGINS=json.dumps([elsewhere.origin])) as url:
        elsewhere.html = page_with(url)  # no policy: nothing but the widget's own care
        page = open_page(elsewhere.origin, ready=NUMBERS)
        assert sorted(text(page, "li span")) == sorted(HOSTILE)
        assert page.locator("tailtrace-widget img, tailtrace-widget script").count() == 0


def test_it_is_light_and_kept_for_a_short_time(shown):
    total = 0
    for name in ("analytics-widget.js", "card-views.js"):
        answer = httpx.get(f"{shown[1]}/static/js/components/{name}", headers={"accept-encoding": "gzip"})
        assert answer.headers["cache-control"] == "public, max-age=300"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        again = httpx.get(answer.url, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        total += int(answer.headers["content-length"])
    assert total < 10_000
