"""Keyboard alone, large letters, slow answers, answers that fail and come back."""

import pytest

pytestmark = pytest.mark.chromium
ANA = "ana@factory.example"
FOCUS = "document.activeElement.id || document.activeElement.className"


def test_a_time_is_typed_in_peace(factory, open_page):
    page = open_page(factory)
    entries = page.evaluate("history.length")
    page.get_by_label("Until").focus()
    page.keyboard.type("10092026", delay=60)
    page.keyboard.type("1030AM", delay=60)
    assert page.evaluate("location.search") == "", "no half of a year was asked for"
    page.keyboard.press("Enter")
    page.until("location.search.includes('at=2026-10-09T08%3A30')")
    page.until("document.querySelector('.banner').textContent.includes('9 Oct 2026, 10:30:00')")
    assert page.evaluate("history.length") == entries + 1
    assert page.evaluate(FOCUS) == "filter-at"
    page.keyboard.press("ArrowUp")
    page.until("location.search.includes('at=2026-10-09T20%3A30')")  # the morning became the evening, after a pause


def test_the_focus_goes_to_the_numbers_where_its_button_went_away(factory, open_page):
    page = open_page(f"{factory}/?at=2026-10-09T08:30:00Z&period=90x")
    page.locator(".banner button").focus()
    page.keyboard.press("Enter")
    page.until("document.querySelector('.banner').hidden")
    page.until(f"({FOCUS}) === 'main'")
    page = open_page(f"{factory}/?user={ANA}")
    page.get_by_role("button", name="Clear all").press("Enter")
    page.until("location.search === ''")
    page.until(f"({FOCUS}) === 'main'")


def test_the_focus_stays_on_a_request_behind_its_dialog(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=7d")
    show_all(page)
    page.locator("#requests button.path").nth(3).focus()
    key = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("Enter")
    page.until("document.querySelector('dialog')?.open")
    page.locator("#theme").evaluate("(one) => one.dispatchEvent(new Event('change'))")  # draws all anew
    page.keyboard.press("Escape")
    page.until(f"document.activeElement.dataset.key === {key!r}")


def test_tab_leads_through_every_panel(factory, open_page):
    page = open_page(factory)
    reached = set()
    for _ in range(20):  # a tabulator asks for what is below, too
        page.keyboard.press("Tab")
    page.until("!document.querySelector('.panel-body[aria-busy]')")
    for _ in range(160):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('.panel')?.id"))
        if page.evaluate("document.activeElement.closest('.foot') !== null"):
            break
    assert reached >= {"users", "heat", "endpoints", "health", "requests"}


@pytest.mark.parametrize("width", [640, 320])
def test_large_letters_fold_the_page(factory, open_page, show_all, width):
    """1280 pixels at 200 % and 400 %."""
    page = open_page(f"{factory}/?period=30d&lang=es")
    page.set_viewport_size({"width": width, "height": 450})
    show_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width > 560:  # narrower, the fields are folded away
        periods, user = page.locator(".segments").bounding_box(), page.locator("#filter-user").bounding_box()
        assert periods["y"] + periods["height"] <= user["y"], "the periods lie on no other field"


def test_a_slow_answer_looks_like_none_yet(factory, open_page):
    page = open_page(factory)
    held = []

    def hold(route):
        held.append(route)

    page.route("**/analytics/panels/**", hold)
    page.get_by_label("30 days").check()
    page.until("document.querySelector('#totals').classList.contains('is-waiting')")
    assert page.locator("#totals .panel-body").get_attribute("aria-busy") == "true"
    while held:
        held.pop().continue_()
    page.until("!document.querySelector('.is-waiting')")
    assert "30 days" in page.locator("#totals").text_content()


def test_old_numbers_are_not_shown_under_new_filters(factory, open_page, alert_of):
    page = open_page(factory)
    page.locator("#totals .figure").first.wait_for()
    alert = alert_of(page, lambda route: route.fulfill(status=500, body="no"))
    assert "Something went wrong" in alert.text_content()
    assert page.locator("#totals .figure").count() == 0, "those were of 24 hours"
    page.unroute("**/analytics/panels/**")
    page.locator("#totals").get_by_role("button", name="Try again").click()
    page.until("document.querySelectorAll('#totals .figure').length === 4")
    page.said.clear()


def test_a_proxy_without_tailtrace_behind_it_says_that_it_is_away(factory, open_page, alert_of):
    page = open_page(factory)
    alert = alert_of(page, lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    assert "tailtrace does not answer" in alert.text_content()
    assert page.locator(".problem:visible").count() == 1
    page.said.clear()


def test_a_request_that_nobody_can_look_up_is_not_told_to_be_none(factory, open_page):
    trace = "ab" * 16
    page = open_page(f"{factory}/?request={trace}")
    page.until("document.querySelector('dialog')?.open")
    assert "No such request" in page.get_by_role("dialog").text_content()
    page.keyboard.press("Escape")
    page.route("**/analytics/panels/request/**", lambda route: route.abort())
    page.evaluate("history.pushState(null, '', '?period=7d'); history.back()")
    page.goto(f"{factory}/?request={trace}&lang=en")
    page.until("document.querySelector('dialog')?.open")
    assert "tailtrace does not answer" in page.get_by_role("dialog").text_content()
    assert "No such request" not in page.get_by_role("dialog").text_content()
    page.unroute("**/analytics/panels/request/**")
    page.get_by_role("dialog").get_by_role("button", name="Try again").click()
    page.until("document.querySelector('dialog h2').textContent === 'No such request'")
    page.said.clear()
