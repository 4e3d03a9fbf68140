"""The monthly report as a page, on a phone: nothing lies over anything else, and the page itself does not scroll sideways."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.chromium
FULL = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"


@pytest.mark.parametrize("lang", ["en", "es"])
def test_a_phone_has_room_for_it(tmp_path, filled, browser, lang):
    filled(tmp_path, 62)
    month = f"{datetime.now(UTC).replace(day=1) - timedelta(days=1):%Y-%m}"
    made = tmp_path / "month.html"
    command = [sys.executable, "-m", "tailtrace_api.main", "report", "--month", month, "--html", made, "--lang", lang]
    subprocess.run([*command, "--store", f"sqlite:{tmp_path / 't.db'}"], check=True, capture_output=True)
    page = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True).new_page()
    page.goto(made.as_uri())
    assert page.locator("table.list").count() >= 4
    assert page.locator(".list :is(td, th), .value, .label").evaluate_all(FULL) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.context.close()
