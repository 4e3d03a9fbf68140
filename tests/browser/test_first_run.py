"""The page of an empty store: one box that watches how a request gets here, and ticks what works."""

import time

import pytest

from tailtrace_bridge.logs.format import TAILTRACE_FORMAT

pytestmark = pytest.mark.chromium


def line(address, app):
    """A line as our include files write it; `app` is what the app said."""
    values = {
        "$msec": f"{time.time():.3f}", "$request_id": f"{time.time_ns():032x}", "$remote_addr": address, "$request_method": "GET",
        "$request_uri": "/hello", "$status": "200", "$http_user_agent": "Firefox/140", "$request_time": "0.020", "$upstream_addr": "127.0.0.1:8000", "$upstream_response_time": "0.018", "$upstream_status": "200",
        "$upstream_http_x_tailtrace": app,
    }  # fmt: skip
    fields = TAILTRACE_FORMAT.partition(" ")[2].split("\t")
    return "\t".join(values.get(field, "" if field.startswith("$") else field) for field in fields) + "\n"


def ticked(page):
    return [one.get_attribute("class") == "done" for one in page.locator(".first-run li").all()]


def test_it_ticks_what_works_and_goes_when_all_does(tmp_path, serving, open_page):
    people = tmp_path / "people.toml"
    people.write_text('"100.64.0.7" = { user = "ana@example.com", device = "ana-pc" }\n')
    with serving(tmp_path, TAILTRACE_IDENTITIES=str(people), TAILTRACE_SPAN_WAIT_MS="0") as url:
        page = open_page(url, ready=".first-run li.done")
        assert ticked(page) == [True, False, False, False], "the log is there, and empty"
        assert "TAILTRACE_IDENTITIES" in page.locator(".first-run").text_content()
        with (tmp_path / "access.log").open("a") as log:
            log.write(line("100.64.0.1", ""))
        page.until("document.querySelectorAll('.first-run li.done').length === 2")
        page.until("document.querySelectorAll('#totals .figure')[2]?.textContent === '1'")
        with (tmp_path / "access.log").open("a") as log:
            log.write(line("100.64.0.7", "1;t=12000;r=/hello"))
        page.until("document.querySelector('.first-run').hidden")
        page = open_page(url)
        assert page.locator(".first-run").is_hidden(), "a store with requests has no first run"
