"""The dashboard as a person meets it: numbers, filters, languages, narrow and dark, by keyboard, live, and in trouble."""

import json
import os
import re
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

pytestmark = pytest.mark.chromium
ANA = "ana@factory.example"


def totals(page):
    return {
        name: int(re.sub(r"\D", "", figure))
        for name, figure in zip(
            page.locator("#totals dt").all_text_contents(),
            page.locator("#totals .figure").all_text_contents(),
            strict=True,
        )
    }


def query(page):
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def test_every_panel_shows_what_the_api_says(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d")
    show_all(page)
    answer = httpx.get(f"{factory}/analytics/panels/overview", params={"period": "30d"}).json()
    assert totals(page) == {row["metric"].capitalize(): row["now"] for row in answer["totals"]}
    assert totals(page)["Requests"] > 1000
    usage = httpx.get(f"{factory}/analytics/dashboard-usage", params={"days": 30}).json()
    assert totals(page)["Sessions"] == usage["summary"]["total_sessions"]
    users = page.locator("#users tbody tr")
    assert users.count() == len(usage["user_sessions"])
    assert page.locator("#users tbody tr", has_text=ANA).locator("td").first.text_content() == str(
        next(row["sessions"] for row in usage["user_sessions"] if row["user"] == ANA)
    )
    assert page.locator("#endpoints tbody tr", has_text="/predict/prices/weekly").locator("svg.spark").count() == 1
    assert page.locator("#heat tbody td").count() == 7 * 24
    assert page.locator("#heat tbody td.level-5").count() > 0
    assert page.locator("#cards li").first.locator(".bar-value").text_content() == str(
        usage["most_viewed_cards"][0]["views"]
    )
    assert "By traffic: of" in page.locator("#health").text_content()
    assert page.locator("#health .facts .figure").first.text_content().endswith("%")
    assert page.locator("#active li").count() >= 4
    assert page.locator("canvas").count() == 3


def test_filters_live_in_the_address(factory, open_page, show_all):
    page = open_page(factory)
    before = totals(page)
    page.get_by_label("30 days").check()
    page.until("document.querySelector('#totals .delta').textContent.includes('30 days')")
    assert query(page) == {"period": "30d"}
    assert totals(page)["Requests"] > before["Requests"]
    page.locator("#users").get_by_role("button", name=ANA).click()
    page.until("document.querySelectorAll('#users tbody tr').length === 1")
    assert query(page) == {"period": "30d", "user": ANA}
    show_all(page)
    assert totals(page)["Users"] == 1
    page.get_by_label("Status").select_option("5xx")
    page.until("document.querySelector('#totals').textContent.includes('not counted')")
    show_all(page)
    narrow = totals_of_requests(page)
    assert narrow[0] == narrow[1] > 0, "under 5xx all requests are errors"
    page.reload()
    page.wait_for_selector("#totals dl")
    assert page.locator(".chip").first.text_content() == f"User {ANA} ✕"
    page.go_back()
    page.until("document.querySelector('#filter-status').value === ''")
    page.get_by_role("button", name="Clear all").click()
    page.until("document.querySelectorAll('#users tbody tr').length > 1")
    assert query(page) == {"period": "30d"}


def totals_of_requests(page):
    figures = page.locator("#totals .figure").all_text_contents()
    return [int(re.sub(r"\D", "", one)) for one in figures[2:]]


def test_a_request_is_told_whole_and_its_address_tells_it_again(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d&endpoint=/predict/prices/weekly&status=500")
    show_all(page)
    page.locator("#requests button.path").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("asking tailscaled").wait_for()  # what the server's words mean comes after the rest
    for word in ("/predict/prices/weekly", "500", "FloatingPointError", "factory.example"):
        assert word in dialog.text_content()
    # Of a request with all three times it tells all three parts.
    dialog.locator(".phase-names").wait_for()
    assert dialog.locator(".phase-names dt").all_text_contents() == ["client and network", "nginx to the app", "app"]
    trace = query(page)["request"]
    page.reload()
    assert trace in page.get_by_role("dialog").text_content()
    page.keyboard.press("Escape")
    page.until("!location.search.includes('request')")


def test_older_requests_come_on_demand(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=7d")
    show_all(page)
    rows = page.locator("#requests tbody tr")
    assert rows.count() == 20
    page.get_by_role("button", name="Older requests").click()
    page.until("document.querySelectorAll('#requests tbody tr').length === 40")


def test_spanish_by_the_browser_and_by_choice(factory, open_page):
    page = open_page(factory, locale="es-MX")
    assert page.locator("html").get_attribute("lang") == "es"
    assert page.locator("#totals dt").all_text_contents() == ["Sesiones", "Usuarios", "Peticiones", "Errores"]
    page.get_by_label("Idioma").select_option("en")
    page.until("document.querySelector('#totals dt').textContent === 'Sessions'")
    assert query(page) == {"lang": "en"}
    page.goto(factory)
    page.wait_for_selector("#totals dl")
    assert page.locator("html").get_attribute("lang") == "en", "the choice is kept"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_by_the_system_and_by_choice(factory, open_page):
    assert background(open_page(factory)) == "rgb(245, 246, 244)"
    page = open_page(factory, scheme="dark")
    assert background(page) == "rgb(14, 19, 18)"
    page.get_by_label("Theme").select_option("light")
    assert background(page) == "rgb(245, 246, 244)"
    page.reload()
    assert background(page) == "rgb(245, 246, 244)"


def test_a_phone_scrolls_one_way_only(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=7d", phone=True)
    show_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.get_by_label("User", exact=True).is_visible()
    page.get_by_role("button", name="Filters").click()
    assert page.get_by_label("User", exact=True).is_visible()


def test_the_keyboard_reaches_everything(factory, open_page):
    page = open_page(factory)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the numbers"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#users thead button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#users th[aria-sort]").text_content() == "Who"
    assert page.evaluate("document.activeElement.textContent") == "Who", "the focus stays where it was"


def test_arrows_walk_through_the_periods(factory, open_page):
    page = open_page(factory)
    page.get_by_label("24 h", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.until("location.search === '?period=7d'")
    page.keyboard.press("ArrowRight")
    page.until("location.search === '?period=30d'")
    assert page.evaluate("document.activeElement.value") == "30d"


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 1024), ("light", 768), ("dark", 390)]
)
def test_axe_finds_nothing(factory, open_page, show_all, scheme, width):
    from pathlib import Path

    axe = (Path(__file__).parents[2] / "api/web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    page = open_page(f"{factory}/?period=30d", scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    show_all(page)
    page.evaluate(axe)  # through the debugger, which no policy of the page binds
    # Of itself it leaves out how large a target is (WCAG 2.5.8).
    options = "{rules: {'target-size': {enabled: true}}}"
    found = page.evaluate(
        f"axe.run(document, {options}).then(({{violations, passes}}) => ({{violations, passes: passes.length}}))"
    )
    assert found["passes"] > 20, "axe looked at the page"
    page.locator("#requests button.path").first.click()
    in_dialog = page.evaluate("axe.run('dialog', " + options + ").then(({violations}) => violations)")
    assert [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in [*found["violations"], *in_dialog]
        for node in one["nodes"]
    ] == []


def test_news_come_by_themselves(tmp_path, serving, open_page, row):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    with serving(tmp_path) as url:
        page = open_page(url, ready=".first-run li.done")
        assert "Nothing is stored yet" in page.locator(".first-run h2").text_content()
        assert page.locator(".panel:visible").count() == 1, "one box, not a page of empty ones"
        page.wait_for_selector("#live[data-state=live]")
        store = SqliteStore(tmp_path / "t.db")
        store.write([row(1, "ben@example.com", "ben-phone", "/hello")])
        store.close()
        page.until("document.querySelector('#active li')?.textContent.includes('ben@example.com')")
        page.until("document.querySelectorAll('#totals .figure')[2]?.textContent.trim() === '1'")
        assert totals(page)["Requests"] == 1
        body = page.locator("#totals .panel-body")
        assert body.evaluate("one => getComputedStyle(one).filter") == "none"
    page.wait_for_selector("#live[data-state=lost]")
    assert body.evaluate("one => getComputedStyle(one).filter") == "grayscale(1)", "as old numbers are"
    assert "See whether tailtrace serve still runs" in page.locator("#live").text_content()
    page.said.clear()  # the server went away on purpose


def test_trouble_says_what_to_do_and_mends_itself(factory, open_page, alert_of):
    page = open_page(factory)
    alert = alert_of(page, lambda route: route.abort())
    assert "tailtrace does not answer" in alert.text_content()
    assert page.locator(".problem:visible").count() == 1, "said once"
    page.unroute("**/analytics/panels/**")
    page.get_by_role("button", name="Try again").click()
    alert.wait_for(state="hidden")
    page.said.clear()


def test_lines_that_rotation_lost_are_told_with_what_mends_it(tmp_path, serving, open_page):
    line = '100.64.0.7 - - [10/Mar/2024:10:00:00 +0000] "GET /{} HTTP/1.1" 200 5 "-" "curl/8"\n'
    log, gone = tmp_path / "access.log", tmp_path.with_name(f"{tmp_path.name}-elsewhere") / "access.log.1"
    log.write_text("".join(line.format(n) for n in range(50)))
    with serving(tmp_path) as url:
        until = time.monotonic() + 10
        while "tailtrace_rows_stored_total 50" not in httpx.get(f"{url}/metrics").text and time.monotonic() < until:
            time.sleep(0.05)
    with log.open("a") as file:
        file.write(line.format("unread"))
    gone.parent.mkdir()
    log.rename(gone)
    log.write_text(line.format("new"))
    with serving(tmp_path, until=503) as url:
        (told,) = httpx.get(f"{url}/ready").json()["problems"]
        page = open_page(url)
        page.wait_for_selector(".unready li")
        assert page.locator(".unready li").all_text_contents() == [told]
        assert "tailtrace import" in told
        page.goto(f"{url}/?lang=es")
        page.wait_for_selector(".unready li")
        assert "Aquí no está todo en orden" in page.locator(".unready").text_content()
        page.said.clear()  # the browser says that /ready answered 503


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"'><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}",
    "\u202ekcatta\u0000\u001b[31m",
)


def test_strangers_words_are_only_text(tmp_path, serving, open_page, show_all, row):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    store.write([row(number, text, f"{text}-device", f"/{text}") for number, text in enumerate(HOSTILE)])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(url)
        show_all(page)
        for text in HOSTILE[:4]:
            assert text in page.locator("#users").text_content()
            assert f"/{text}" in page.locator("#requests").text_content()
            assert f"/{text}" in page.locator("#endpoints").text_content()
        assert page.locator("main img, main script").count() == 0
        links = [link.get_attribute("href") for link in page.locator("main a").all()]
        assert all(link.startswith("/analytics/panels/requests/file?") for link in links), links
        page.locator("#requests button.path").first.click()
        assert page.locator("dialog img, dialog script").count() == 0
        page.keyboard.press("Escape")
        page.locator("#users").get_by_role("button", name=HOSTILE[0], exact=True).click()
        page.until("document.querySelectorAll('#users tbody tr').length === 1")
        assert query(page)["user"] == HOSTILE[0]


def test_the_policy_holds_and_breaking_it_would_be_seen(factory, open_page):
    page = open_page(factory)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x.png'}))"
    )
    page.wait_for_timeout(100)
    assert any("Content Security Policy" in text for text in page.said)
    page.said.clear()
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    page.said.clear()


def test_the_page_is_light_and_loads_from_nowhere_else(factory, open_page, show_all):
    page = open_page(factory)
    show_all(page)
    loaded = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({name, encodedBodySize, decodedBodySize}) => ({name, encodedBodySize, decodedBodySize}))"
    )
    assert {urlsplit(one["name"]).netloc for one in loaded} == {urlsplit(factory).netloc}
    files = [one for one in loaded if "/analytics/" not in one["name"]]
    assert len(files) >= 4
    assert sum(one["encodedBodySize"] for one in files) <= 100_000
    assert all(
        one["encodedBodySize"] < one["decodedBodySize"] for one in files if one["name"].endswith((".js", ".css"))
    )


@pytest.mark.shared
def test_real_logs(tmp_path, shared_data, serving, open_page, show_all):
    """Days of 2018: the page says how old they are, and leads there."""
    from tailtrace_api.commands.import_logs import run_import

    log = shared_data / "nginx-access" / "access.log.7.gz"
    done = run_import([log], {"store": f"sqlite:{tmp_path / 't.db'}"}, None)
    assert done.stored > 10_000
    with serving(tmp_path) as url:
        page = open_page(url, ready=".banner button")
        page.locator(".banner button").click()
        page.until("document.querySelector('.banner').textContent.includes('up to')")
        page.until("document.querySelectorAll('#totals .figure')[2].textContent !== '0'")
        show_all(page)
        assert query(page)["at"].startswith("2018-04")
        assert totals(page)["Requests"] > 10_000
        assert (
            "/metrics/sticker/" in page.locator("#requests").text_content() + page.locator("#endpoints").text_content()
        )
        assert "carry no times" in page.locator("#health").text_content()
        assert "You are looking at the past" in page.locator("#active").text_content()
        assert "Nothing is stored" not in page.locator("body").text_content()


def test_a_member_sees_what_is_theirs(tmp_path, serving, open_page, show_all, row):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    store.write([row(n, "ben@example.com", "ben-phone", "/hello") for n in range(3)])
    store.write([row(n, "ana@example.com", "ana-laptop", "/secret") for n in range(3, 5)])
    store.close()
    tokens = {"TAILTRACE_ACCESS": "token", "TAILTRACE_TOKENS": str(tmp_path / "tokens.json")}
    command = [
        sys.executable,
        "-m",
        "tailtrace_api.main",
        "token",
        "create",
        "ben",
        "--user",
        "ben@example.com",
        "--json",
    ]
    made = subprocess.run(command, env={**os.environ, **tokens}, cwd=tmp_path, capture_output=True, check=True)
    token = json.loads(made.stdout)["token"]
    with serving(tmp_path, **tokens) as url:
        assert httpx.get(url).status_code == 401
        page = open_page(url, headers={"Authorization": f"Bearer {token}"})
        show_all(page)
        assert totals(page)["Requests"] == 3
        assert page.locator(".banner").text_content() == "You see what is yours alone, ben@example.com."
        assert page.locator("#users tbody tr").count() == 1
        assert page.locator("#health").count() == 0
        text = page.locator("main").text_content()
        assert "ben-phone" in text
        assert "ana" not in text.replace("Analytics", "")
        assert "/secret" not in text
        page.goto(f"{page.url.partition('?')[0]}?period=7d&at=2026-01-01T00:00:00Z")
        page.until("document.querySelector('.banner').textContent.includes('up to')")
        assert "You see what is yours alone, ben@example.com." in page.locator(".banner").text_content()
        assert page.locator("#unused, #alerts").count() == 0
        page.until("document.querySelector('#errors .panel-note').textContent.includes('groups of everybody')")
        assert page.locator(".foot a").evaluate_all(
            "all => all.filter((one) => one.checkVisibility()).map((one) => one.pathname)"
        ) == ["/openapi.json"]
        asked = page.evaluate("performance.getEntriesByType('resource').map(({name}) => new URL(name).pathname)")
        assert "/analytics/panels/overview" in asked
        assert not {
            "/analytics/stream",
            "/analytics/panels/health",
            "/analytics/unused-endpoints",
            "/analytics/alerts",
        } & {*asked}
