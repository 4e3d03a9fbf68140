"""What a number is of stands beside it, variants beside their card, and a name that is a mere address narrows too."""

import re
import time

import httpx
import pytest

pytestmark = pytest.mark.chromium
VIEW = "/_tailtrace/view?card=prices"


@pytest.fixture
def mixed(tmp_path, serving, row):
    """Errors of the app and of a health check; a card in two variants; somebody without a name, and a service."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    rows = [
        row(1, "ana@example.com", "ana-pc", status=500),
        row(2, path="/health", traffic="health", status=503, address="100.64.0.1", kind="unknown"),
        row(3, path="/app.js", traffic="static", status=500, address="100.64.0.1", kind="unknown"),
        row(4, address="100.64.0.77", kind="unknown", path="/only-there"),
        row(5, device="ci-runner", kind="tagged", path="/of-ci", address="100.64.0.5"),
        *(row(n, f"u{n}@example.com", f"d{n}", f"{VIEW}#A", traffic="card", status=204) for n in (10, 11, 12)),
        row(13, "u13@example.com", "d13", f"{VIEW}#B", traffic="card", status=204),
        row(14, "u14@example.com", "d14", f"{VIEW}plain", traffic="card", status=204),
    ]
    store = SqliteStore(tmp_path / "t.db")
    store.write(rows)
    store.close()
    with serving(tmp_path) as url:
        yield url


@pytest.mark.parametrize(
    ("lang", "usage", "of_app", "of_all", "health"),
    [
        ("en", "usage", "requests to the app", "all traffic", "Of all traffic: 3 of 10 answers were 5xx."),
        ("es", "uso", "peticiones a la app", "todo el tráfico", "De todo el tráfico: 3 de 10 respuestas fueron 5xx."),
    ],
)
def test_a_number_says_of_what(mixed, open_page, show_all, lang, usage, of_app, of_all, health):
    page = open_page(f"{mixed}/?lang={lang}")
    show_all(page)
    tiles = page.locator("#totals .tile")
    assert tiles.locator(".figure").all_text_contents()[2:] == ["8", "1"], "the health check's and the file's are none"
    assert [tiles.nth(place).locator(".of").all_text_contents() for place in range(4)] == [[], [], [usage], [usage]]
    tiles.nth(3).locator(".of").click()
    page.until("document.querySelector('.hint').matches(':popover-open')")
    assert len(page.locator(".hint").text_content()) > 60, "explained in the page, by touch and keyboard too"
    page.keyboard.press("Escape")
    page.until("!document.querySelector('.hint').matches(':popover-open')")
    assert page.locator("#requests-by-hour .of").text_content() == usage
    assert page.locator("#users .of").text_content() == usage
    assert page.locator("#endpoints .of").text_content() == of_app
    assert page.locator("#requests .of").text_content() == of_all
    assert health in page.locator("#health").text_content()


def test_a_card_shows_how_its_variants_divide(mixed, open_page, show_all):
    page = open_page(mixed)
    show_all(page)
    cards = page.locator("#cards > .panel-body > ol > li")
    assert cards.count() == 2
    assert page.get_by_role("list", name="Variants of prices").get_by_role("listitem").all_text_contents() == [
        "A75%3 views, 3 people",
        "B25%1 view, 1 person",
    ]
    assert cards.nth(1).locator(".variants").count() == 0, "a card without variants is one bar"


def test_who_has_no_name_narrows_by_address_and_a_service_by_its_device(mixed, open_page):
    page = open_page(mixed)
    page.locator("#users").get_by_role("button", name="100.64.0.77").click()
    page.until("location.search === '?user=100.64.0.77'")
    page.until("document.querySelectorAll('#users tbody tr').length === 1")
    page.until("document.querySelectorAll('#totals .figure')[2].textContent === '1'")
    page.evaluate("history.back()")
    page.until("location.search === ''")
    page.until("document.querySelectorAll('#users tbody tr').length > 2")
    page.locator("#users th").get_by_role("button", name="ci-runner").click()
    page.until("location.search === '?device=ci-runner'")
    page.until("document.querySelectorAll('#users tbody tr').length === 1")
    page.until("document.querySelectorAll('#totals .figure')[2].textContent === '1'")  # each panel answers in its time


@pytest.mark.parametrize(("lang", "name"), [("en", "other addresses"), ("es", "otras direcciones")])
def test_what_fits_no_route_has_one_name(tmp_path, serving, row, open_page, show_all, lang, name):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    store.write([row(1, "ana@example.com", "ana-pc", "/itmes", status=404)._replace(route="__other__")])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang={lang}")
        show_all(page)
        row_of_it = page.locator("#endpoints tbody th")
        assert row_of_it.all_text_contents() == [name], "said once, and under no other name beside it"
        page.locator("#filter-endpoint").focus()
        page.until("document.querySelector('#choices-endpoint option')")
        assert page.locator("#choices-endpoint option").get_attribute("label") == name
        row_of_it.get_by_role("button").click()
        page.until("new URLSearchParams(location.search).get('endpoint') === '__other__'")
        page.until(f"document.title === '{name} · tailtrace'")


def test_a_list_that_was_cut_says_of_how_many(mixed, open_page):
    page = open_page(mixed)

    def cut(route):
        answer = httpx.get(route.request.url).json()
        answer["users"] = [{**answer["users"][0], "user": f"u{n}"} for n in range(12)]
        route.fulfill(json={**answer, "truncated": {"users": 12_374}})

    page.route("**/panels/people*", cut)
    page.reload()
    page.get_by_role("button", name="Show 2 more of 12,374").click()
    page.until("document.querySelectorAll('#users tbody tr').length === 12")


def test_time_outside_the_app_that_nobody_knows_is_a_dash(mixed, open_page, show_all):
    page = open_page(mixed)

    def unknown(route):
        answer = httpx.get(route.request.url).json()
        for place, one in enumerate(answer["endpoints"]):
            one |= {"proxy_ms": None if place else 0, "proxy_calls": 0 if place else one["calls"]}
        route.fulfill(json=answer)

    page.route("**/panels/endpoints*", unknown)
    page.reload()
    page.wait_for_selector("#totals dl")
    show_all(page)
    headings = page.locator("#endpoints thead th").all_text_contents()
    cells = page.locator(f"#endpoints tbody td:nth-child({headings.index('Outside it') + 1})")
    assert set(cells.all_text_contents()) == {"0 ms", "–"}
    assert cells.nth(1).locator("span").get_attribute("title").startswith("Not known")


def test_a_request_whose_time_outside_the_app_nobody_knows_is_not_divided(mixed, open_page, show_all):
    page = open_page(mixed)

    def timed(route):
        answer = httpx.get(route.request.url).json()
        for place, one in enumerate(answer["requests"]):
            one |= {"response_time_ms": 5.0, "app_time_ms": 4.0, "outside_ms": None if place else 1.0}
        route.fulfill(json=answer)

    page.route("**/panels/requests*", timed)
    page.reload()
    page.wait_for_selector("#totals dl")
    show_all(page)
    for place, told in enumerate(("nginx and network 1 ms", None)):
        page.locator("#requests button.path").nth(place).click()
        split = page.get_by_role("dialog").locator(".split-text .out")
        assert split.all_text_contents() == ([told] if told else [])
        page.keyboard.press("Escape")
        page.until("!document.querySelector('dialog')?.open")


@pytest.fixture
def apps(tmp_path, serving, row):
    """Two apps behind one nginx: of the shop's root two calls in three have both times; it was down for a minute."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    minute_us = time.time_ns() // 60_000_000_000 * 60_000_000
    rows = []
    for number in range(1, 7):
        made = row(number, f"u{number}@example.com", f"d{number}", "/", status=499 if number == 6 else 200)
        service = "shop" if number < 4 or number == 6 else "wiki"
        timed = made.access._replace(service=service, request_time_us=9_000)
        rows.append(made._replace(access=timed, app_time_us=4_000 if number in {1, 2} else None))
    failed = row(9, "u1@example.com", "d1", "/", status=502, at_us=minute_us - 600_000_000)
    rows.append(failed._replace(access=failed.access._replace(service="shop")))
    store = SqliteStore(tmp_path / "t.db")
    store.write(rows)
    store.close()
    with serving(tmp_path) as url:
        yield url


@pytest.mark.parametrize(("lang", "part", "down"), [("en", "of 2 of 5", "Down "), ("es", "de 2 de 5", "Caído: ")])
def test_apps_behind_one_nginx_are_told_apart(apps, open_page, show_all, lang, part, down):
    page = open_page(f"{apps}/?lang={lang}")
    show_all(page)
    rows = page.locator("#endpoints tbody tr")
    assert rows.count() == 2
    shop = rows.filter(has_text="shop")
    parts = [text.replace("\N{NO-BREAK SPACE}", " ") for text in shop.locator(".part").all_text_contents()]
    assert parts == [part, part]
    assert shop.locator("td").last.text_content() == "1", "one gave up"
    assert rows.filter(has_text="wiki").locator(".part").count() == 0
    outage = page.locator("#health .outages li").text_content()
    assert outage.startswith(down)
    assert not re.search(r"\d:\d\d:\d", outage), "it is told in minutes, at either end"
    assert page.locator("#health .services dd").all_text_contents()[1].startswith("100")
    shop.get_by_role("button", name="shop").click()
    page.until("location.search.includes('service=shop')")
    page.until("document.querySelectorAll('#endpoints tbody tr').length === 1")
    page.until("document.querySelectorAll('#health .services').length === 0")
    page.until("document.querySelectorAll('#totals .figure')[2].textContent === '5'")


def test_a_long_name_of_a_service_takes_one_line(tmp_path, serving, row, open_page, show_all):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    names = ("the-factory-of-chocolate.internal.example", "wiki.example")
    made = [row(number, "u1@example.com", "d1") for number in range(2)]
    store.write([one._replace(access=one.access._replace(service=name)) for one, name in zip(made, names, strict=True)])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en")
        show_all(page)
        cells = page.locator("#endpoints td.one-line button")
        assert sorted(cells.all_text_contents()) == list(names)
        heights = cells.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().height)")
        assert heights[0] == heights[1]
        assert all(
            names[0] in title or names[1] in title
            for title in cells.evaluate_all("(all) => all.map((one) => one.title)")
        )
