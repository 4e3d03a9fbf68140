"""From a number to what is behind it: doors, filters that combine, a look into a chart, and the way back."""

import pytest

pytestmark = pytest.mark.chromium
ANA, BEN = "ana@factory.example", "bruno@factory.example"
NOW_US = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z
MINUTE_US = 60_000_000
AT = "at=2025-10-08T12:00:00Z"


@pytest.fixture(scope="module")
def office(tmp_path_factory, serving, row):
    """An hour of two people: a page each minute, an error at 11:30, a card, a file of the app."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    folder = tmp_path_factory.mktemp("office")
    store = SqliteStore(folder / "t.db")
    rows = [
        row(n, (ANA, BEN)[n % 2], ("a-pc", "b-pc")[n % 2], f"/page/{n % 3}", at_us=NOW_US - n * MINUTE_US,
            status=500 if n == 30 else 200)
        for n in range(1, 60)
    ]  # fmt: skip
    rows += [
        row(100, ANA, "a-pc", "/_tailtrace/view?card=prices", status=204, traffic="card", at_us=NOW_US - MINUTE_US),
        row(101, ANA, "a-pc", "/logo.svg", traffic="static", at_us=NOW_US - MINUTE_US),
    ]
    store.write(rows)
    store.close()
    with serving(folder) as url:
        yield url


def chips(page):
    return page.locator(".chip").all_text_contents()


def paths(page):
    return [text.split(" ", 1)[1] for text in page.locator("#requests button.path").all_text_contents()]


ASKED = "performance.getEntriesByType('resource').filter(({name}) => name.includes('/panels/choices')).length"


def test_names_are_asked_for_by_who_is_about_to_choose_one(office, open_page):
    page = open_page(f"{office}/?{AT}")
    page.until("document.getElementById('said').textContent")
    assert page.evaluate(ASKED) == 0
    page.locator("#filter-user").focus()
    page.until("document.querySelectorAll('#choices-user option').length === 2")
    page.locator("#filter-device").focus()
    assert page.evaluate(ASKED) == 1, "all names come with one answer"
    page.locator("#filter-user").fill("runo@")
    page.locator("#filter-user").press("Enter")
    page.until(f"new URLSearchParams(location.search).get('user') === '{BEN}'")
    assert chips(page) == [f"User {BEN} ✕"]


def test_from_an_error_to_the_failing_request(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    page.locator("#totals .tile.bad .figure button").click()
    page.until("location.search.includes('status=5xx')")
    page.until("document.querySelectorAll('#requests tbody tr').length === 1")
    assert paths(page) == ["/page/0"]
    page.locator("#requests button.path").click()
    page.until("document.querySelector('dialog')?.open")
    page.locator("dialog .who").get_by_role("button", name=ANA).click()
    page.until("!document.querySelector('dialog')?.open")
    assert chips(page) == [f"User {ANA} ✕", "Status 5xx ✕"]
    page.go_back()
    page.until("document.querySelector('dialog')?.open")
    page.go_back()
    page.go_back()
    page.until("location.search.startsWith('?at=') && !location.search.includes('status')")


def test_filters_combine_and_are_taken_away_one_by_one(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    for part in ("BRUN", "ana"):  # a part is enough
        page.get_by_label("User", exact=True).fill(part)
        page.keyboard.press("Enter")
        page.until(f"document.querySelector('.chips').textContent.includes({part.lower()!r})")
    page.get_by_label("Path", exact=True).fill("GE/1")
    page.keyboard.press("Enter")
    page.until(
        "[...document.querySelectorAll('#requests button.path')].every((one) => one.textContent.endsWith(' /page/1'))"
    )
    assert chips(page) == [f"User {BEN} ✕", f"User {ANA} ✕", "Path GE/1 ✕"]
    show_all(page)
    assert set(paths(page)) == {"/page/1"}
    assert "narrow the list of requests alone" in page.locator("#users").inner_text()
    page.reload()
    page.wait_for_selector("#totals dl")
    page.locator(".chip", has_text=ANA).click()
    page.until("document.querySelectorAll('.chip').length === 2")
    page.get_by_label("Slower than").select_option("100")
    page.until("document.querySelector('#requests .empty') !== null")
    page.get_by_role("button", name="Clear all").click()
    page.until("document.querySelectorAll('.chip').length === 0")


def test_card_views_and_files_are_there_for_who_asks(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    assert paths(page)[0] == "/page/1"
    page.locator("#requests").get_by_role("button", name="with card views and static files").click()
    page.until("document.querySelector('#requests tbody').textContent.includes('/logo.svg')")
    assert {"/logo.svg", "/_tailtrace/view?card=prices"} <= set(paths(page))
    page.locator("#cards").get_by_role("button", name="prices").click()
    page.until("document.querySelectorAll('#requests tbody tr').length === 1")


def test_a_part_of_a_chart_is_looked_into(office, open_page):
    page = open_page(f"{office}/?{AT}&period=1h")
    page.wait_for_selector("#requests-by-hour canvas")
    page.until("document.querySelector('#requests-by-hour canvas').width > 300")
    box = page.locator("#requests-by-hour .chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
    page.mouse.up()
    page.until("location.search.includes('from=2025-10-08T11%3A')")
    page.until("document.querySelector('.banner').textContent.startsWith('You are looking at 8 Oct 2025, 13:')")
    summary = page.locator("#requests-by-hour summary")
    summary.click()
    minutes = page.locator("#requests-by-hour tbody th button")
    minutes.first.wait_for()
    assert 12 <= minutes.count() <= 18, "a quarter of an hour, by the minute"
    minutes.first.press("Enter")
    page.until("new URLSearchParams(location.search).get('to') - 0 !== 0")
    page.go_back()
    page.go_back()
    page.until("location.search.includes('period=1h') && !location.search.includes('from')")


def test_keys_and_what_they_do(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    page.keyboard.press("?")
    page.until("document.querySelector('dialog.keys').open")
    assert "Find a user" in page.locator("dialog.keys").text_content()
    page.keyboard.press("p")  # in a dialog, keys do nothing
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    assert page.locator("#pause").get_attribute("aria-pressed") == "false"
    page.keyboard.press("3")
    page.until("location.search.includes('period=6h')")
    page.keyboard.press("p")
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    page.keyboard.press("/")
    page.keyboard.type("p?")
    assert page.get_by_label("User", exact=True).input_value() == "p?", "who types, types"
    page.keyboard.press("Escape")
    page.locator("#help").click()
    page.get_by_label("Keys do this on this page").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    assert "period=6h" in page.evaluate("location.search")


def test_a_link_whose_time_stands_still(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}&period=1h&status=500")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#pin").click()
    page.until("document.querySelector('#pin').textContent === 'Copied'")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.endswith("?period=1h&from=2025-10-08T11%3A00%3A00.000Z&to=2025-10-08T12%3A00%3A00.000Z&status=500")
    page.goto(link)
    page.until("document.querySelector('.banner').textContent.startsWith('You are looking at 8 Oct 2025, 13:00:00 to')")
    show_all(page)
    with page.expect_download() as started:
        page.locator("#requests").get_by_role("link", name="CSV").click()
    assert started.value.path().read_text().count("/page/0") == 2  # path and route of the one


def test_a_long_table_is_looked_through(tmp_path, serving, row, open_page, show_all):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    store.write([row(n, f"user{n:03}@x", f"pc{n}", at_us=NOW_US - n * MINUTE_US) for n in range(1, 121)])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?{AT}")
        show_all(page)
        rows = page.locator("#users tbody tr")
        assert rows.count() == 10
        page.get_by_role("button", name="Show 50 more of 120").click()
        assert rows.count() == 60
        assert page.locator("#users .scroll").bounding_box()["height"] <= 901
        page.get_by_label("Find in Who used it").type("r09")
        assert rows.count() == 10
        assert page.get_by_label("Find in Who used it").input_value() == "r09"
        page.get_by_label("Find in Who used it").fill("nobody")
        assert "Nothing here has" in page.locator("#users").text_content()


def test_a_heading_sorts_the_list_on_the_server_and_back_undoes_it(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    newest_first = paths(page)
    heading = page.locator("#requests thead").get_by_role("button", name="Request")
    heading.click()
    page.until("document.querySelector('#requests th[aria-sort=ascending]')?.textContent === 'Request'")
    assert paths(page) == ["/page/0"] * 19 + ["/page/1"]
    heading.click()
    page.until("location.search.includes('sort=path-desc')")
    page.until("document.querySelector('#requests button.path').textContent.includes('/page/2')")
    page.get_by_role("button", name="Show more", exact=True).click()
    page.until("document.querySelectorAll('#requests tbody tr').length === 59")
    page.go_back()
    page.go_back()
    page.until("!location.search.includes('sort')")
    page.until("document.querySelector('#requests th[aria-sort=descending]')?.textContent === 'Time'")
    assert paths(page) == newest_first


def test_one_person_has_a_trail(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    page.keyboard.press("Tab")  # from now on each panel answers, wherever it is
    page.until("document.querySelector('#requests tbody tr') && !document.querySelector('.panel-body[aria-busy]')")
    assert page.locator("#trail").is_hidden()
    page.locator("#users").get_by_role("button", name=ANA).click()
    page.wait_for_selector("#trail .trail-lane")
    lanes = page.locator("#trail .trail-name").all_text_contents()
    assert (lanes[0], sorted(lanes[1:])) == ("1 session", ["/page/0", "/page/1", "/page/2"])
    page.locator("#trail .dot-mark.s5").click()
    page.until("document.querySelector('dialog')?.open")
    assert "/page/0" in page.locator("dialog h2").text_content()


def test_who_saw_a_card(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    page.locator("#cards .seen summary").click()
    page.locator("#cards .seen").get_by_role("button", name=ANA).click()
    page.until("document.querySelectorAll('.chip').length === 2")
    assert chips(page) == [f"User {ANA} ✕", "Endpoint Card prices ✕"]
