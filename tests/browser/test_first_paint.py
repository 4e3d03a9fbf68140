"""What the page shows and asks for before it has its texts, and that what moves on it costs no painting."""

import pytest

pytestmark = pytest.mark.chromium

NOW_S = 1_795_000_000
MOVES = """() => document.getAnimations().map(({effect}) => ({
  of: (effect.pseudoElement ?? "") + effect.target.className,
  what: [...new Set(effect.getKeyframes().flatMap((frame) => Object.keys(frame)))]
    .filter((name) => !["offset", "easing", "composite", "computedOffset"].includes(name)),
}))"""


@pytest.fixture
def unspoken(browser, factory):
    """A page whose texts are held, what it asked for so far, and what lets the texts come."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    held, asked = [], []
    page.route("**/static/assets/en-*.js", lambda route: held.append(route))  # noqa: PLW0108 - it is given attributes
    page.on("request", lambda request: asked.append(request.url.removeprefix(factory)))
    page.goto(factory, wait_until="commit")

    def come():
        wait(page, lambda: held)
        held.pop().continue_()

    yield page, asked, come
    context.close()


def wait(page, holds):
    for _ in range(1000):
        if holds():
            return
        page.wait_for_timeout(30)
    pytest.fail("not within half a minute")


def test_name_and_numbers_do_not_wait_for_the_texts_and_are_asked_for_once(unspoken):
    page, asked, come = unspoken
    numbers = "/analytics/panels/overview?period=24h"
    wait(page, lambda: numbers in asked and any("/assets/en-" in path for path in asked))
    assert page.locator(".brand").is_visible()
    assert not page.locator("#help").is_visible()  # it has no words yet
    assert page.locator("#totals dl").count() == 0
    come()
    page.wait_for_selector("#totals dl", timeout=30_000)
    assert page.locator("#help").is_visible()
    assert asked.count(numbers) == 1


def test_what_moves_moves_by_opacity_alone_and_each_panel_as_one(unspoken):
    page, _, come = unspoken
    page.route("**/analytics/panels/**", lambda _: None)  # the panels wait, as long as the test looks at them
    come()
    wait(page, lambda: page.evaluate("document.querySelectorAll('.skeleton').length") > 0)
    moving = page.evaluate(MOVES)
    assert {one["of"] for one in moving} >= {"skeleton"}
    assert {name for one in moving for name in one["what"]} == {"opacity"}
    assert len(moving) <= page.evaluate("document.querySelectorAll('.skeleton').length") + 1  # the line's dot


def test_a_choice_draws_no_number_anew_before_its_answer(open_page, factory):
    page = open_page(factory, ready="#users table")
    page.evaluate("window.drawn = [...document.querySelectorAll('#totals dl, #users table')]")
    page.route("**/analytics/panels/**", lambda _: None)  # no answer, as long as the test looks
    page.get_by_label("7 days").check()
    page.until("location.search.includes('period=7d') && document.querySelector('#totals.is-waiting')")
    assert page.evaluate("window.drawn.length") == 2
    assert page.evaluate("window.drawn.every((element) => element.isConnected)")


def test_the_first_panel_s_question_goes_ahead_and_holds_nobody_up_for_long(browser, factory):
    context = browser.new_context(locale="en-GB")
    page, held, asked = context.new_page(), [], []
    page.route("**/panels/overview**", lambda route: held.append(route))  # noqa: PLW0108 - it is given attributes
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install(time=NOW_S)
    page.clock.pause_at(NOW_S + 1)  # no timer of the page's own runs
    page.goto(factory, wait_until="commit")
    page.wait_for_selector("#help:visible", timeout=30_000)
    wait(page, lambda: any("/panels/markers" in url for url in asked))
    for _ in range(10):
        page.wait_for_timeout(30)
    assert not [url for url in asked if "/panels/people" in url]
    page.clock.run_for(300)
    wait(page, lambda: [url for url in asked if "/panels/people" in url])
    assert len(held) == 1
    context.close()
