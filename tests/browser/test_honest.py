"""What the page says of itself: one time zone, whose fault it is, how old the data is, and no question without news."""

import re
import time

import httpx
import pytest

pytestmark = pytest.mark.chromium
ASKED = "performance.getEntriesByType('resource').filter(({name}) => name.includes('/panels/overview')).length"
NOON_US = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, serving, row):
    """A store of one request, of long ago, whose server is in New York; the browser is in Madrid."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    folder = tmp_path_factory.mktemp("quiet")
    store = SqliteStore(folder / "t.db")
    store.write([row(1, "ana@example.com", "ana-pc", "/missed", status=404, at_us=NOON_US)])
    store.close()
    with serving(folder, TAILTRACE_TIMEZONE="America/New_York") as url:
        yield url


def test_chart_list_and_fields_tell_times_of_one_zone(quiet, open_page, show_all):
    page = open_page(f"{quiet}/?from=2025-10-08T11:00:00Z&to=2025-10-08T13:00:00Z")
    for zone, hour in (("America/New_York (server)", "08:00"), ("Europe/Madrid (browser)", "14:00")):
        page.get_by_label("Time zone").select_option(label=zone)
        show_all(page)
        assert page.locator("#requests td.nowrap").text_content().startswith(f"{hour}:00")
        assert f"{hour}" in page.locator("#requests-by-hour canvas").get_attribute("aria-label")
        assert page.locator("#filter-from").input_value() == f"2025-10-08T{int(hour[:2]) - 1:02}:00"
        assert f"{int(hour[:2]) - 1:02}:00:00" in page.locator(".banner").text_content()
    page.locator("#filter-from").fill("2025-10-08T13:30")
    page.keyboard.press("Enter")
    page.until("location.search.includes('from=2025-10-08T11%3A30%3A00')")
    page.reload()
    page.wait_for_selector("#totals dl")
    assert page.locator("#zone").input_value() == "Europe/Madrid", "the choice is kept"


def test_a_step_that_is_not_whole_is_marked(quiet, open_page, show_all):
    page = open_page(f"{quiet}/?from=2025-10-05T12:00:00Z&to=2025-10-08T12:30:00Z")
    show_all(page)
    for panel in ("#requests-by-hour", "#health"):
        assert "in part: not over yet, or cut" in page.locator(f"{panel} .legend").first.text_content()
        page.locator(f"{panel} summary").first.click()
    titles = page.locator("#requests-by-hour tbody th").all_text_contents()
    assert [title for title in titles if "in part" in title] == ["8 Oct 2025, 08:00 (in part)"], "it begins, and is cut"
    assert page.locator("#health .chart + details tbody th").all_text_contents() == ["8 Oct 2025 (in part)"]


def test_live_is_not_green_over_data_of_long_ago(quiet, open_page):
    page = open_page(quiet)
    page.wait_for_selector("#live[data-state=stale]")
    assert re.match(r"Connected · newest request \d", page.locator("#live-text").text_content())


def test_a_box_tells_its_own_fault(quiet, open_page, show_all):
    page = open_page(quiet)
    page.route("**/analytics/panels/missing*", lambda route: route.abort())
    page.route("**/analytics/panels/people*", lambda route: route.fulfill(status=503, json={"detail": "disk full"}))
    page.get_by_label("7 days").check()
    show_all(page)
    page.until("!document.querySelector('#missing .problem').hidden")
    assert "tailtrace does not answer" in page.locator("#missing .problem").text_content()
    assert "disk full" in page.locator("#users .problem").text_content()
    assert page.locator("#totals .problem").is_hidden(), "it has its answer"
    assert "Waiting for an answer" not in page.locator("main").text_content()
    page.said.clear()


def test_a_page_that_has_not_heard_of_the_store_says_not_that_it_is_empty(quiet, open_page):
    page = open_page(quiet)
    page.route("**/analytics/panels/overview*", lambda route: route.abort())
    page.reload(wait_until="commit")
    page.wait_for_selector("#active .empty")
    assert "Nothing is stored" not in page.locator("main").text_content()
    page.said.clear()


def test_a_store_in_which_nothing_changes_is_asked_once(quiet, open_page):
    page = open_page(quiet)
    page.wait_for_selector("#live[data-state=stale]")  # the stream has told what it knows
    time.sleep(6)  # longer than the distance of two rounds
    assert page.evaluate(ASKED) == 1


def test_what_follows_no_filter_says_so(quiet, open_page, show_all):
    page = open_page(f"{quiet}/?from=2025-10-08T11:00:00Z&to=2025-10-08T13:00:00Z&user=ana@example.com")
    show_all(page)
    said = {
        panel: "of everybody" in page.locator(f"#{panel} .panel-note").first.text_content()
        for panel in ("unused", "health", "errors", "users", "missing", "endpoints")
    }
    assert said == {
        "unused": True,
        "health": True,
        "errors": True,
        "users": False,
        "missing": False,
        "endpoints": False,
    }


def test_what_people_asked_for_in_vain_leads_to_their_requests(quiet, open_page, show_all):
    page = open_page(f"{quiet}/?from=2025-10-08T11:00:00Z&to=2025-10-08T13:00:00Z")
    show_all(page)
    answer = httpx.get(f"{quiet}/analytics/panels/missing?from=2025-10-08T11:00:00Z&to=2025-10-08T13:00:00Z").json()
    assert [one["path"] for one in answer["paths"]] == ["/missed"]
    page.locator("#missing tbody").get_by_role("button", name="/missed").click()
    page.until("location.search.includes('path=%2Fmissed') && location.search.includes('status=404')")
    page.until("document.querySelectorAll('#requests tbody tr').length === 1")


def test_the_heat_map_goes_by_keyboard(quiet, open_page, show_all):
    page = open_page(f"{quiet}/?from=2025-10-08T11:00:00Z&to=2025-10-08T13:00:00Z")
    show_all(page)
    page.locator("#heat tbody td[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowDown", *["ArrowRight"] * 8):
        page.keyboard.press(key)
    assert page.locator("#heat output").text_content() == "Wednesday, 8:00–9:00. Requests: 1"
    assert page.locator("#heat .heat-key i").count() == 6
