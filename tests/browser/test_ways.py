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


def test_from_an_error_to_the_failing_request(office, open_page, show_all):
    page = open_page(f"{office}/?{AT}")
    show_all(page)
    page.locator("#totals .tile.bad button").click()
    page.until("location.search.includes('status=5xx')")
    page.until("document.querySelectorAll('#requests tbody tr').length === 1")
    assert paths(page) == ["/page/0"]
    page.locator("#requests button.path").click()
    page.until("document.querySelector('dialog').open")
    page.locator("dialog .who").get_by_role("button", name=ANA).click()
    page.until("!document.querySelector('dialog').open")
    assert chips(page) == [f"User {ANA} ✕", "Status 5xx ✕"]
    page.go_back()
    page.until("document.querySelector('dialog').open")
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
    page.until("document.querySelectorAll('#requests tbody tr').length === 20")
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
    assert 12 <= minutes.count() <= 18, "a quarter of an hour, by the minute"
    minutes.first.press("Enter")
    page.until("new URLSearchParams(location.search).get('to') - 0 !== 0")
    page.go_back()
    page.go_back()
    page.until("location.search.includes('period=1h') && !location.search.includes('from')")
