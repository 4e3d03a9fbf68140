"""The page's address and the browser's history: Back and Forward lead where somebody was, and what an address got wrong is told."""

import pytest

pytestmark = pytest.mark.chromium
PRICES = "/?period=30d&endpoint=/predict/prices/weekly&status=500"
IS_OPEN = "document.querySelector('dialog.request').open"
TELLS_WHY = "document.querySelector('dialog.request').textContent.includes('FloatingPointError')"


def search(page):
    return page.evaluate("location.search")


def back(page):
    """As the button does. Playwright's own asks the browser, which may not have heard yet of the newest entry."""
    page.evaluate("history.back()")


def forward(page):
    page.evaluate("history.forward()")


def test_back_closes_a_request_and_forward_opens_it_again(factory, open_page, show_all):
    page = open_page(f"{factory}{PRICES}")
    show_all(page)
    before, entries = search(page), page.evaluate("history.length")
    page.locator("#requests button.path").nth(1).click()
    page.until(f"{IS_OPEN} && {TELLS_WHY}")
    of_request = search(page)
    back(page)
    page.until(f"!{IS_OPEN}")
    assert search(page) == before
    forward(page)
    page.until(f"{IS_OPEN} && {TELLS_WHY}")
    assert search(page) == of_request != before
    page.keyboard.press("Escape")
    page.until(f"!{IS_OPEN}")
    page.until(f"location.search === {before!r}")
    page.until("document.activeElement?.classList.contains('path')")
    assert page.evaluate("history.length") == entries + 1, "closing adds no entry"
    page.get_by_label("Status").select_option("")
    page.until("!location.search.includes('status')")
    back(page)
    page.until(f"location.search === {before!r}")
    assert page.get_by_label("Status").input_value() == "500"
    assert not page.evaluate(IS_OPEN), "the request that was closed is no step of the way"


def test_a_link_to_a_request_is_closed_in_place(factory, open_page, show_all):
    page = open_page(f"{factory}{PRICES}")
    show_all(page)
    page.locator("#requests button.path").first.click()
    page.until("location.search.includes('request=')")
    link = page.url
    page = open_page(link)
    page.until(IS_OPEN)
    entries = page.evaluate("history.length")
    page.get_by_role("button", name="Close").click()
    page.until("!location.search.includes('request=')")
    assert page.evaluate("history.length") == entries
    assert page.url.startswith(factory), "nobody is led away"


def test_a_filter_right_after_closing_is_not_lost(factory, open_page, show_all):
    page = open_page(f"{factory}{PRICES}")
    show_all(page)
    page.locator("#requests button.path").first.click()
    page.evaluate(
        "() => { document.querySelector('dialog .close').click();"
        " const status = document.querySelector('#filter-status'); status.value = '5xx';"
        " setTimeout(() => status.dispatchEvent(new Event('change'))); }"
    )
    page.until("location.search.includes('status=5xx')")
    page.wait_for_timeout(200)
    assert "status=5xx" in search(page)
    assert "request=" not in search(page)


def test_back_walks_through_periods_and_names_but_not_languages(factory, open_page):
    page = open_page(factory)
    page.get_by_label("7 days").check()
    page.until("location.search === '?period=7d'")
    page.locator("#users").get_by_role("button", name="ana@factory.example").click()
    page.until("location.search.includes('user=')")
    page.get_by_label("Language").select_option("es")
    page.until("document.querySelector('#totals dt').textContent === 'Sesiones'")
    back(page)
    page.until("location.search === '?period=7d'")
    page.until("document.querySelectorAll('#users tbody tr').length > 1")
    back(page)
    page.until("location.search === ''")
    assert page.locator("#period-24h").is_checked()
    forward(page)
    page.until("location.search === '?period=7d'")
    assert page.locator("#period-7d").is_checked()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("period=90x", "period=90x is none of 15m, 1h, 6h, 24h, 7d, 30d, 90d, 1y; 24 hours are shown."),
        ("tz=Foo", "tz=Foo is nothing that this page knows; it is left out."),
        ("constructor=1", "constructor=1 is nothing that this page knows; it is left out."),
        ("at=yesterday", "at=yesterday is no time like 2026-10-09T10:00:00Z; the time up to now is shown."),
        ("at=7", "at=7 is no time like 2026-10-09T10:00:00Z; the time up to now is shown."),
        ("at=1969-12-31", "at=1969-12-31 is no time like 2026-10-09T10:00:00Z; the time up to now is shown."),
        ("status=teapot", "status=teapot is no status like 404 or 5xx; any status is shown."),
        ("request=abc", "request=abc is no trace id of 32 hex digits; no request is opened."),
        ("lang=fr", "lang=fr is neither en nor es; the page keeps its language."),
        ("slower=soon", "slower=soon is no value that this can have; it is left out."),
        (f"user={'x' * 513}", f"user={'x' * 55}… is longer than 512 characters; it is left out."),
    ],
)
def test_what_an_address_got_wrong_is_told(factory, open_page, query, told):
    page = open_page(f"{factory}/?{query}")
    assert page.locator(".notice li").all_text_contents() == [told]
    assert page.locator("#period-24h").is_checked()
    assert page.locator(".problem:visible").count() == 0


def test_a_right_address_tells_nothing(factory, open_page):
    page = open_page(f"{factory}/?period=7d&user=&at=2026-10-09T10:00:00Z&status=5xx&lang=en")
    assert page.locator(".notice").is_hidden()


def test_a_notice_is_text_and_goes_with_the_next_address(factory, open_page):
    page = open_page(f"{factory}/?period=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&%3Cb%3Ex&a=1&b=2&c=3&lang=es")
    assert "period=<img src=x onerror=alert(1)>" in page.locator(".notice").text_content()
    assert page.locator(".notice img, .notice b").count() == 0
    assert page.locator(".notice li").count() == 5
    assert page.locator(".notice li").last.text_content() == "y 1 más"
    page.locator(".notice").get_by_role("button", name="Cerrar").click()
    assert page.locator(".notice").is_hidden()
    assert search(page) == "?lang=es"
    page = open_page(f"{factory}/?period=90x")
    page.get_by_label("7 days").check()
    page.until("location.search === '?period=7d'")
    assert page.locator(".notice").is_hidden()
    back(page)
    page.until("!document.querySelector('.notice').hidden")
