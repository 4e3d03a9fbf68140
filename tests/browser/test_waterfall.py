"""The waterfall in a request's dialog: its parts, what broke, copy and download; strangers' words stay text."""

import json
import time
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tailtrace_bridge.core.records import Access, Failure, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces.pack import pack

pytestmark = pytest.mark.chromium

TRACE, NGINX = "ab" * 16, "cd" * 8
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
EXCHANGE = "\t127.0.0.1:8000\t0.095\t500\t0.002\t0.080\t10\t10\tHTTP/1.1\thttp\t100\t10\tshop.example"
STACK = 'Traceback (most recent call last):\n  File "/srv/shop/orders.py", line 40, in total\n    return prices[name]\nKeyError'
EVIL = "<img src=x onerror=alert(1)>"


def span(at_us, number, parent, name, *, failed=False, end_us=60_000):
    made = Span(
        trace_id=bytes.fromhex(TRACE), span_id=number.to_bytes(8), parent_span_id=parent, name=name,
        start_time_unix_nano=(at_us + 2000 + number * 100) * 1000, end_time_unix_nano=(at_us + end_us) * 1000,
    )  # fmt: skip
    if failed:
        made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
        event = made.events.add(name="exception")
        event.attributes.add(key="exception.type").value.string_value = "KeyError"
        event.attributes.add(key="exception.stacktrace").value.string_value = STACK
    made.attributes.add(key="note").value.string_value = EVIL
    return WholeSpan(made.trace_id, made.SerializeToString(), "shop", "1.2")


def kept(folder, spans_of):
    at_us = time.time_ns() // 1000 - 60_000_000
    access = Access(
        at_us, 1, ANA.address, "GET", "/orders/7", 500, 120_000, 95_000, True, 10, "shop.example", TRACE, NGINX, "curl", "",
        exchange=EXCHANGE,
    )  # fmt: skip
    row = Row(access, ANA, "/orders/{id}", Traffic.APP, 60_000, "KeyError")
    store = SqliteStore(folder / "t.db")
    store.write([row])
    store.add_failures([Failure(at_us, 1, "f" * 16, "KeyError", f"total {EVIL}", "", "1.2")])
    store.keep_traces([pack(row, "error", spans_of(at_us), service="nginx", has_messages=False)], 1 << 24)
    store.close()


def few(at_us):
    return [
        span(at_us, 1, bytes.fromhex(NGINX), "GET /orders/{id}", failed=True),
        span(at_us, 2, (1).to_bytes(8), f"SELECT {EVIL}"),
    ]


@pytest.mark.parametrize("phone", [False, True])
def test_a_kept_trace_is_a_waterfall(tmp_path, serving, open_page, phone):
    kept(tmp_path, few)
    with serving(tmp_path, TAILTRACE_TRACE_URL="https://jaeger.example/trace/{trace_id}") as url:
        page = open_page(f"{url}/?request={TRACE}&lang=en", phone=phone)
        page.locator(".waterfall").wait_for()
        assert page.locator(".phase-names dt").all_text_contents() == [
            "connecting to the app", "waiting for the app", "app, until its first byte", "the rest of its answer",
            "client, network and nginx",
        ]  # fmt: skip
        names = [one.partition("shop")[0] for one in page.locator(".span-name").all_text_contents()]
        assert names == ["GET /orders/{id}nginx", "GETnginx", "GET /orders/{id}", f"SELECT {EVIL}"]
        assert "/srv/shop/orders.py:40 total" in page.locator(".frames").text_content()
        assert page.locator("img[src=x]").count() == 0
        page.locator(".spans summary").last.click()
        page.locator(".spans > li").last.locator("dd").first.wait_for()  # made when it opens
        assert EVIL in page.locator(".spans > li").last.locator("dd").all_text_contents()
        assert page.get_by_role("link", name="tracing backend").get_attribute("href").endswith(TRACE)
        width = page.evaluate(
            "[document.querySelector('dialog').scrollWidth, document.querySelector('dialog').clientWidth]"
        )
        assert width[0] <= width[1], "it scrolls one way only"
        with page.expect_download() as download:
            page.get_by_role("link", name="OTLP").click()
        assert "resourceSpans" in json.loads(download.value.path().read_text())
        page.get_by_role("button", name="Copy as text").click()
        page.until(
            "document.querySelector('.as-text') || [...document.querySelectorAll('button')].some((one) => one.textContent === 'Copied')"
        )


def test_a_span_whose_times_lie_outside_its_requests_is_marked(tmp_path, serving, open_page):
    """The request took 120 ms: what the app did in the background went on for 400 ms more."""
    kept(
        tmp_path,
        lambda at_us: [*few(at_us), span(at_us, 3, (1).to_bytes(8), "send mail", end_us=520_000)],
    )
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?request={TRACE}&lang=en")
        page.locator(".waterfall").wait_for()
        marked = page.locator(".spans li", has=page.locator(".lane.outside"))
        assert [one.partition("shop")[0] for one in marked.locator(".span-name").all_text_contents()] == ["send mail"]
        assert "outside" in marked.locator(".span-name").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_it(tmp_path, serving, open_page, scheme):
    axe = (Path(__file__).parents[2] / "api/web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    kept(tmp_path, few)
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?request={TRACE}&lang=es", scheme=scheme)
        page.locator(".waterfall").wait_for()
        page.evaluate(axe)  # through the debugger, which no policy of the page binds
        found = page.evaluate("axe.run('dialog').then(({violations}) => violations)")
        assert [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]] == []


LAYOUT_MS = """(visibility) => {
  const list = document.querySelector(".spans");
  for (const row of list.children) row.style.contentVisibility = visibility;
  const times = [];
  for (let n = 0; n < 5; n += 1) {
    list.style.display = "none";
    document.body.getBoundingClientRect();
    list.style.display = "";
    const begin = performance.now();
    list.getBoundingClientRect();
    times.push(performance.now() - begin);
  }
  return Math.min(...times);
}"""


def test_five_hundred_spans_are_drawn(tmp_path, serving, open_page):
    kept(
        tmp_path,
        lambda at_us: [
            span(at_us, n, (n // 2).to_bytes(8) if n > 1 else bytes.fromhex(NGINX), f"s{n}") for n in range(1, 600)
        ],
    )
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?request={TRACE}")
        page.locator(".waterfall").wait_for()
        assert page.locator(".spans > li").count() == 500
        assert page.locator(".spans *").count() <= 9 * 500, "what a span says is made when it opens"
        # Side by side on one page: rows out of sight cost no layout, so about a tenth of the time.
        assert page.evaluate(LAYOUT_MS, "") < 0.5 * page.evaluate(LAYOUT_MS, "visible")


def test_what_broke_is_a_table_that_leads_to_the_request(tmp_path, serving, open_page, show_all):
    kept(tmp_path, few)
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en")
        show_all(page)
        row = page.locator("#errors tbody tr")
        assert row.locator(".state").text_content() == "new"
        assert EVIL in row.text_content()
        row.locator("button.path").click()
        page.locator(".waterfall").wait_for()
        page.keyboard.press("Escape")
        page.until("!location.search.includes('request')")


def test_failures_in_no_group_are_told_and_lead_to_their_requests(tmp_path, serving, open_page, show_all):
    at_us = time.time_ns() // 1000 - 10 * 86_400_000_000  # a server that starts groups those of the last hours
    access = Access(at_us, 1, ANA.address, "GET", "/a", 502, 9_000, None, True, 10, "shop.example", "", "", "curl", "")
    store = SqliteStore(tmp_path / "t.db")
    store.write([Row(access, ANA, "/a", Traffic.APP, None, "")])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(f"{url}/?lang=en&period=30d")
        show_all(page)
        assert "1 answer of 5xx is in no group" in page.locator("#errors").text_content()
        way = page.locator("#errors button", has_text="See the requests")
        assert way.evaluate("(one) => getComputedStyle(one).textDecorationLine") == "underline", "it looks like a way"
        way.click()
        page.until("location.search.includes('status=5xx')")


@pytest.mark.parametrize("phone", [False, True])
def test_keys_are_offered_to_who_has_them(factory, open_page, phone):
    page = open_page(factory, phone=phone)
    assert page.locator("#help").is_visible() is not phone
    page.keyboard.press("?")  # a keyboard may be tied to a phone
    assert page.locator("dialog.keys").is_visible()


def test_who_opens_a_request_waits_for_nothing_else_and_the_rest_not_for_ever(tmp_path, serving, open_page):
    kept(tmp_path, few)
    with serving(tmp_path) as url:
        page = open_page(url)
        requests, traces = [], []

        def hold_request(route):
            requests.append(route)
            if traces:
                route.continue_()

        def hold_trace(route):
            traces.append(route)
            for one in requests:
                one.continue_()

        page.route("**/panels/request/**", hold_request)
        page.route("**/panels/trace/**", hold_trace)
        page.goto(f"{url}/?request={TRACE}&lang=en")
        page.wait_for_selector("dialog[open] .dialog-head")
        assert traces, "its trace was asked for before the request itself was answered"
        page.wait_for_selector("#users tbody tr")
        assert page.locator(".waterfall").count() == 0, "a trace that takes long holds nobody up"
        traces[0].continue_()
        page.wait_for_selector(".waterfall")
