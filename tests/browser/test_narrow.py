"""Little room: nothing is wider than the page, and a table that goes on behind its edge shows that."""

import io

import pytest
from PIL import Image

pytestmark = pytest.mark.chromium
SMALL = {"width": 360, "height": 740}
TOO_WIDE = """[...document.querySelectorAll('body *')].filter((one) =>
    one.checkVisibility() && !one.closest('.scroll, .sr, svg') && one.getBoundingClientRect().right > innerWidth + 0.5)
    .map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`)"""


@pytest.mark.parametrize("query", ["?period=30d", "?period=30d&lang=es", "?period=7d&at=2018-04-27T06:00:00Z&lang=es"])
def test_nothing_is_wider_than_a_small_phone(factory, open_page, show_all, query):
    page = open_page(f"{factory}/{query}", phone=True)
    page.set_viewport_size(SMALL)
    show_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(TOO_WIDE) == []
    page.set_viewport_size(SMALL)
    page.get_by_role("button", name="Filt").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(TOO_WIDE) == []
    if "at=" not in query:
        page.locator("#requests button.path").first.click()
        page.until("document.querySelector('dialog')?.open")
        assert page.evaluate(TOO_WIDE) == []


def test_charts_that_were_drawn_anew_follow_the_window(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d")
    show_all(page)
    page.until("document.querySelectorAll('.chart canvas').length === 3")
    page.locator("#endpoints tbody th button").first.click()
    page.until("location.search.includes('endpoint=')")
    show_all(page)
    for width in (500, 1100, 360):
        page.set_viewport_size({"width": width, "height": 740})
        page.until(f"document.documentElement.scrollWidth <= {width}")
        page.until(
            "[...document.querySelectorAll('.chart canvas')].every((one) =>"
            " Math.abs(one.getBoundingClientRect().width - one.closest('.chart').clientWidth) < 2)"
        )


def shades(page, place):
    """The tones of a column of pixels of the table of users, at an edge, from its heading on."""
    table = page.locator("#users .scroll")
    picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
    x = picture.width - 2 if place == "right" else 1
    return picture.getpixel((x, 4)), picture.getpixel((picture.width // 2, 1))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_has_a_shadow_at_that_edge(factory, open_page, show_all, scheme):
    page = open_page(f"{factory}/?period=30d", phone=True, scheme=scheme)
    page.set_viewport_size({"width": 600, "height": 740})  # on a smaller one a row is a card
    show_all(page)

    def shaded():
        found = []
        for place in ("left", "right"):
            edge, middle = shades(page, place)
            found.append(abs(edge - middle) > 12)
        return found

    assert shaded() == [False, True], "it begins here, and goes on to the right"
    page.evaluate("document.querySelector('#users .scroll').scrollLeft = 100")
    assert shaded() == [True, True]
    page.evaluate("document.querySelector('#users .scroll').scrollLeft = 9999")
    assert shaded() == [True, False]


def test_a_table_that_fits_has_no_shadow(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d")
    show_all(page)
    for place in ("left", "right"):
        edge, middle = shades(page, place)
        assert edge == middle, place


def test_on_a_phone_a_row_is_a_card(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d", phone=True)
    page.set_viewport_size(SMALL)
    show_all(page)
    for table in ("#users", "#endpoints"):
        width = page.locator(f"{table} .scroll").evaluate("(one) => [one.scrollWidth, one.clientWidth]")
        assert width[0] == width[1], "nothing is behind an edge"
        first = page.locator(f"{table} tbody tr").first
        name, *others = [cell.bounding_box() for cell in first.locator("th, td").all()]
        assert all(box["y"] >= name["y"] + name["height"] for box in others), "what is said of it stands below its name"
        label = first.locator("td").first.get_attribute("data-label")
        assert label in page.locator(f"{table} thead th").all_text_contents(), "each beside its heading"


def test_on_a_phone_the_requests_are_sorted_by_what_one_can_touch(factory, open_page, show_all):
    page = open_page(f"{factory}/?period=30d", phone=True)
    show_all(page)
    page.locator("#requests").get_by_role("button", name="Time taken").click()
    page.until("document.querySelector('#requests th[aria-sort]')?.textContent === 'Time taken'")
    assert page.locator("#requests th[aria-sort=descending]").is_visible()
    assert page.locator("#requests thead").evaluate("(head) => head.scrollWidth <= head.clientWidth")
    # Of a table of cards, headings that sort nothing are not there.
    headings = page.locator("#endpoints thead th")
    seen = [one.text_content() for one in headings.all() if one.is_visible()]
    assert "p95" in seen
    assert set(seen) < set(headings.all_text_contents())


@pytest.mark.parametrize("phone", [True, False])
def test_what_stands_at_the_foot_covers_no_chart_of_a_phone(factory, open_page, show_all, phone):
    page = open_page(f"{factory}/?period=30d&at=2026-10-09T08:30:00Z&lang=en", phone=phone)
    size = page.viewport_size
    show_all(page)  # a box that is answered as it comes into sight changes the height
    page.set_viewport_size(size)
    page.evaluate("scrollTo(0, 0)")
    page.until("document.querySelector('.banner').checkVisibility()")
    seen = "(({ top, bottom }) => top >= 0 && bottom <= innerHeight)(document.querySelector('.banner').getBoundingClientRect())"
    page.until(seen)
    height = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("scrollTo(0, 400)")
    page.until(f"scrollY === 400 && {seen} === {str(not phone).lower()}")
    assert page.evaluate("document.documentElement.scrollHeight") == height, "nothing moved"
    page.evaluate("scrollTo(0, 0)")
    page.until(seen)
