"""Deployments on the page: a line in each chart over time with its name, and before and after side by side."""

import time

import pytest

from tailtrace_bridge.core.records import Access, Identity, Marker, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore

pytestmark = pytest.mark.chromium

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
MINUTE = 60_000_000
EVIL = "<img src=x onerror=alert(1)>"
UPRIGHT = """(id) => {
  // How many pixels each column has in the upper half, where low bars and curves leave it empty, more than those beside
  // it: an upright line has most, a step that is shaded none.
  const canvas = document.querySelector(`${id} canvas`);
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, Math.floor(canvas.height / 2));
  const columns = Array.from({ length: width }, (_, x) =>
    Array.from({ length: height }, (_, y) => data[(y * width + x) * 4 + 3] > 100).filter(Boolean).length);
  const beside = (x) => Math.max(columns[x - 8] ?? 0, columns[x + 8] ?? 0);
  return Math.max(...columns.map((filled, x) => (x > width * 0.6 ? filled - beside(x) : 0))) / height;
}"""


def filled(folder, *marks):
    store = SqliteStore(folder / "t.db", lambda: time.time_ns() // 1000)
    now_us = time.time_ns() // 1000
    rows = []
    for key in range(240):
        at_us = now_us - key * MINUTE
        status, ms = (200, 20) if key > 60 else (500, 90)
        # A peak at the left makes the rest of the chart low.
        for one in range(40 if key > 220 else 1):
            access = Access(
                at_us,
                key * 100 + one,
                ANA.address,
                "GET",
                "/a",
                status,
                ms * 1000,
                None,
                True,
                10,
                "shop",
                "",
                "",
                "",
                "",
            )
            rows.append(Row(access, ANA, "/a", Traffic.APP, None, ""))
    store.write(rows)
    store.add_markers([Marker(now_us - 61 * MINUTE, "version", "shop", text) for text in marks])
    store.close()


def test_a_deployment_is_a_line_and_a_comparison(tmp_path, serving, open_page, show_all):
    filled(tmp_path, f"1.3 {EVIL}")
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en&period=6h")
        show_all(page)
        for panel in ("#requests-by-hour", "#health"):
            marks = page.locator(f"{panel} .legend .mark").all_text_contents()
            assert marks
            assert all(f"▲ shop 1.3 {EVIL}" in mark for mark in marks)
        page.until(f"({UPRIGHT})('#requests-by-hour') > 0.3")
        cells = page.locator("#errors .panel-body table").last.locator("tbody tr")
        assert cells.count() == 1
        said = [" ".join(one.split()) for one in cells.locator("th, td").all_text_contents()]
        assert said[0].startswith(f"▲ shop 1.3 {EVIL}")
        assert said[1:3] == ["1 → 1", "0% → 100%"]
        assert said[3].startswith("20 ms → 9")
        assert page.locator("img[src=x]").count() == 0


def test_without_one_there_is_no_line(tmp_path, serving, open_page, show_all):
    filled(tmp_path)
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en&period=6h")
        show_all(page)
        page.locator("#requests-by-hour canvas").wait_for()
        assert page.locator(".legend .mark").count() == 0
        assert page.evaluate(UPRIGHT, "#requests-by-hour") < 0.3


@pytest.mark.parametrize("width", [1100, 1280])
def test_a_legend_keeps_its_words_whole_and_clear_of_the_heading(tmp_path, serving, open_page, show_all, width):
    filled(tmp_path, "1.3", "1.4 of the twenty-eighth of November, with all that was asked for", "1.5")
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en&period=6h")
        page.set_viewport_size({"width": width, "height": 900})
        show_all(page)
        assert page.locator("#requests-by-hour .legend .mark").count() == 3
        lines = page.locator(".legend li").evaluate_all("(all) => all.map((one) => one.clientHeight)")
        assert max(lines) < 2 * min(lines), "a line each"
        for panel in ("#requests-by-hour", "#health"):
            box = page.locator(panel).bounding_box()
            parts = [one.bounding_box() for one in page.locator(f"{panel} .legend li").all()]
            assert all(box["x"] <= one["x"] and one["x"] + one["width"] <= box["x"] + box["width"] for one in parts)
        heading = page.locator("#requests-by-hour h2").bounding_box()
        first = page.locator("#requests-by-hour .legend li").evaluate_all(
            "(all) => Math.min(...all.map((one) => one.getBoundingClientRect().left))"
        )
        assert first >= heading["x"] + heading["width"]
