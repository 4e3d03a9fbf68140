"""The end of the period in the past: no number is told as if it were of now, and now is one click away."""

import re

import pytest

pytestmark = pytest.mark.chromium
AT = "2018-04-27T06:00:00Z"
AT_US = 1_524_808_800_000_000
HOUR_US = 3_600_000_000


@pytest.fixture
def years_apart(tmp_path, serving, row):
    """One request of 2018, 17 hours before `AT`, and one of this minute."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(tmp_path / "t.db")
    store.write([row(1, "old@example.com", "old-pc", at_us=AT_US - 17 * HOUR_US), row(2, "new@example.com", "new-pc")])
    store.close()
    with serving(tmp_path) as url:
        yield url


def test_the_past_has_dates(years_apart, open_page, show_all):
    page = open_page(f"{years_apart}/?at={AT}")
    show_all(page)
    assert page.locator("#users tbody tr").count() == 1
    assert page.locator("#users tbody td").last.text_content() == "26 Apr 2018, 15:00"
    assert page.locator("#health .figure").last.text_content() == "26 Apr 2018, 15:00"
    assert "The last one before the end of the time shown." in page.locator("#health").text_content()
    assert "26 Apr 2018" in page.locator("#requests tbody").text_content()
    assert " ago" not in page.locator("main").text_content()
    assert page.locator(".banner").text_content().startswith("You are looking at the time up to 27 Apr 2018, 08:00:00.")


def test_nobody_is_active_in_the_past_and_now_is_a_click_away(years_apart, open_page):
    asked = []
    page = open_page(f"{years_apart}/?at={AT}&lang=es")
    page.on("request", lambda request: asked.append(request.url))
    page.until("document.querySelector('#active .empty')?.textContent.startsWith('Estás viendo el pasado')")
    assert not any("active-users" in url for url in asked)
    page.locator("#active").get_by_role("button", name="Volver a ahora").click()
    page.until("document.querySelector('#active li')?.textContent.includes('new@example.com')")
    assert page.evaluate("location.search") == "?lang=es"
    page.evaluate("history.back()")
    page.until("document.querySelector('#active .empty') !== null")


def test_now_has_distances(years_apart, open_page, show_all):
    page = open_page(years_apart)
    show_all(page)
    seen = page.locator("#users tbody time")
    assert re.search(r"sec\.? ago$", seen.text_content()) or seen.text_content() == "now"
    assert len(seen.get_attribute("title")) > 12, "the date is there for who asks"


def test_a_past_before_everything_is_no_empty_store(years_apart, open_page, show_all):
    page = open_page(f"{years_apart}/?at=2011-01-01T00:00:00Z")
    show_all(page)
    assert "Nothing is stored" not in page.locator("main").text_content()
    assert page.locator("#health .empty").text_content() == "No requests in this period. Choose a longer one."


def test_a_time_without_a_zone_is_the_readers(years_apart, open_page):
    page = open_page(f"{years_apart}/?at=2018-04-27T08:00:00")
    assert page.get_by_label("Until").input_value() == "2018-04-27T08:00"
    assert "up to 27 Apr 2018, 08:00:00" in page.locator(".banner").text_content()
