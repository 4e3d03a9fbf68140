"""A kept trace as an answer, over HTTP and in the terminal: the tree, the phases, what broke, and whose it is."""

import asyncio
import io
import json
from dataclasses import replace
from datetime import UTC

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from rich.console import Console
from typer.testing import CliRunner

from tailtrace_api.answers import traces as answers
from tailtrace_api.commands.cli import app
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.traces import trace_router
from tailtrace_api.mcp_server.explained import own_times
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries
from tailtrace_api.queries.traces import Traces
from tailtrace_api.terminal.waterfall import print_trace
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces.pack import TraceSpan, pack

S = 1_000_000
T0 = 1_759_924_800 * S
TRACE, OTHER, NGINX = "ab" * 16, "ef" * 16, "cd" * 8
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
# connect 2 ms, header after 80 ms, done after 95 ms; the request 120 ms.
EXCHANGE = "\t127.0.0.1:8000\t0.095\t500\t0.002\t0.080\t10\t10\tHTTP/1.1\thttp\t100\t10\tshop.example"
STACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/venv/lib/python3.12/site-packages/starlette/routing.py", line 76, in app\n'
    '    await f(request)\n  File "/srv/shop/orders.py", line 40, in total\n    return prices[name]\nKeyError\n'
)


def row(exchange=EXCHANGE, **more):
    access = Access(
        T0, 1, ANA.address, "GET", "/orders/7", 500, 120_000, 95_000, True, 10, "shop.example", TRACE, NGINX, "curl", "",
        exchange=exchange,
    )._replace(**more)  # fmt: skip
    return Row(access, ANA, "/orders/{id}", Traffic.APP, None, "KeyError")


def span(number, parent, start_ms, length_ms, name="work", *, failed=False, stack="", kind=Span.SPAN_KIND_INTERNAL):
    made = Span(
        trace_id=bytes.fromhex(TRACE), span_id=number.to_bytes(8), parent_span_id=parent, name=name, kind=kind,
        start_time_unix_nano=(T0 + round(start_ms * 1000)) * 1000,
        end_time_unix_nano=(T0 + round((start_ms + length_ms) * 1000)) * 1000,
    )  # fmt: skip
    if failed:
        made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
    if stack:
        event = made.events.add(name="exception")
        event.attributes.add(key="exception.type").value.string_value = "KeyError"
        event.attributes.add(key="exception.stacktrace").value.string_value = stack
    return WholeSpan(made.trace_id, made.SerializeToString(), "shop", "1.2")


SPANS = [
    span(1, bytes.fromhex(NGINX), 12, 66, "GET /orders/{id}", failed=True, stack=STACK, kind=Span.SPAN_KIND_SERVER),
    span(3, (1).to_bytes(8), 40, 30, "GET"),
    span(2, (1).to_bytes(8), 15, 20, "SELECT prices"),
]


@pytest.fixture
def store(own_folder):
    made = SqliteStore(own_folder / "t.db")
    made.write([row()])
    made.keep_traces([pack(row(), "error", SPANS, service="nginx", has_messages=False)], 1 << 20)
    yield made
    made.close()


DAY_MS = 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("start_ms", "took_ms", "drawn"),
    [
        (5, 110, (0.0, 120.0, 5.0, 110.0, False)),
        (-4, 20, (4.0, 124.0, 0.0, 20.0, False)),  # nginx's milliseconds
        (-500, 100, (500.0, 620.0, 0.0, 100.0, True)),
        (60, 2_000, (0.0, 2_060.0, 60.0, 2_000.0, True)),  # after the answer
        (-400 * DAY_MS, 30, (0.0, 120.0, 0.0, 0.0, True)),
        (900 * DAY_MS, 30, (0.0, 120.0, 120.0, 0.0, True)),
        (20, 3 * DAY_MS, (0.0, 120.0, 20.0, 100.0, True)),
    ],
)
def test_a_span_whose_clock_is_wrong_is_marked_and_does_not_stretch_the_trace(own_folder, start_ms, took_ms, drawn):
    store = SqliteStore(own_folder / "t.db")
    store.write([row()])
    strange = span(1, bytes.fromhex(NGINX), start_ms, took_ms, "GET", kind=Span.SPAN_KIND_SERVER)
    store.keep_traces([pack(row(), "error", [strange], service="nginx", has_messages=False)], 1 << 20)
    found = Traces(store).trace(TRACE)
    store.close()
    (one,) = [one for one in found.spans if not one.nginx]
    (request,) = found.requests
    assert (request.start_ms, found.duration_ms, one.start_ms, one.duration_ms, one.outside) == drawn
    assert not any(other.outside for other in found.spans if other.nginx)


def test_the_whole_of_it(store):
    found = Traces(store, "https://jaeger.example/trace/{trace_id}").trace(TRACE.upper())
    assert (found.trace_id, found.duration_ms, found.url) == (TRACE, 120.0, f"https://jaeger.example/trace/{TRACE}")
    (request,) = found.requests
    assert (request.user, request.device, request.status, request.kept_as) == (ANA.user, ANA.device, 500, "error")
    assert [(one.phase, one.start_ms, one.duration_ms) for one in request.phases] == [
        ("connect", 0.0, 2.0),
        ("waiting", 2.0, 10.0),
        ("app", 12.0, 68.0),
        ("answer", 80.0, 15.0),
        ("client", 95.0, 25.0),
    ]
    assert [(one.name, one.depth, one.start_ms, one.failed) for one in found.spans] == [
        ("GET /orders/{id}", 0, 0.0, True),
        ("GET", 1, 0.0, True),
        ("GET /orders/{id}", 1, 12.0, True),
        ("SELECT prices", 2, 15.0, False),
        ("GET", 2, 40.0, False),
    ]
    ((failure,),) = [one.failures for one in found.spans if one.failures]
    assert (failure.type, failure.message) == ("KeyError", None)
    assert [(one.file, one.line, one.function, one.source, one.own) for one in failure.stack] == [
        ("/srv/venv/lib/python3.12/site-packages/starlette/routing.py", 76, "app", "await f(request)", False),
        ("/srv/shop/orders.py", 40, "total", "return prices[name]", True),
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"exchange": ""}, [("app", 95.0), ("client", 25.0)]),
        ({"exchange": "", "upstream_time_us": None}, [("client", 120.0)]),
        ({"request_time_us": None}, []),
        (
            {
                "exchange": EXCHANGE.replace("127.0.0.1:8000", "127.0.0.1:8001, 127.0.0.1:8000")
                .replace("0.095", "0.010, 0.085")
                .replace("\t500\t", "\t502, 500\t")
                .replace("0.002", "-, 0.001")
                .replace("0.080", "-, 0.080")
            },
            [("attempt", 10.0), ("connect", 1.0), ("waiting", 1.0), ("app", 78.0), ("answer", 5.0), ("client", 25.0)],
        ),
    ],
)
def test_the_phases_add_up_to_what_nginx_measured(store, more, expected):
    one = row(key=2, trace_id=OTHER, **more)
    store.write([one])
    store.keep_traces([pack(one, "error", SPANS, service="nginx", has_messages=False)], 1 << 20)
    (found,) = Traces(store).trace(OTHER).requests
    assert [(one.phase, one.duration_ms) for one in found.phases] == expected
    assert sum(one.duration_ms for one in found.phases) == (found.duration_ms or 0)


def node(number, parent, start_us=0):
    return TraceSpan(
        f"{number}", f"{parent}", "x", "", "", "", False, start_us, 1, "unset", "", {}, [], []
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([node(1, ""), node(2, 1), node(3, 2), node(4, 1)], [("1", 0), ("2", 1), ("3", 2), ("4", 1)]),
        ([node(2, 9), node(1, "")], [("1", 0), ("2", 0)]),
        ([node(1, 1)], [("1", 0)]),
        ([node(1, 3), node(2, 1), node(3, 2), node(4, "")], [("4", 0), ("1", 0), ("2", 1), ("3", 2)]),
        ([node(2, 1, 5), node(1, "", 9)], [("1", 0), ("2", 1)]),
    ],
)
def test_a_tree_of_whatever_parents(spans, expected):
    assert [(one.span_id, depth) for one, depth in answers.in_order(spans)] == expected


def test_a_chain_of_hundreds_is_cut_in_depth_alone():
    found = answers.in_order([node(number, number - 1 or "") for number in range(1, 501)])
    assert (len(found), found[-1][1]) == (500, answers.DEPTH_MAX)


def test_strangers_words_are_harmless_in_the_terminal(store):
    evil = span(1, bytes.fromhex(NGINX), 1, 1, "\x1b[31m[bold]x\nfaked line", failed=True, stack=STACK)
    one = row(key=2, trace_id=OTHER)
    store.write([one])
    store.keep_traces([pack(one, "error", [evil], service="[red]n", has_messages=False)], 1 << 20)
    text = io.StringIO()
    print_trace(Console(file=text, width=140, force_terminal=False), Traces(store).trace(OTHER))
    said = text.getvalue()
    assert "\x1b" not in said
    assert "[bold]x" in said
    assert not any(line.startswith("faked") for line in said.splitlines())


@pytest.mark.parametrize(("time_us", "said"), [(None, "the log has no times"), (0, "less than a millisecond")])
def test_a_request_without_phases_says_why(store, time_us, said):
    """A port that nobody listens on is refused at once: nginx's time is 0.000 s."""
    one = row(key=2, trace_id=OTHER)
    one = one._replace(access=one.access._replace(request_time_us=time_us, exchange="", upstream_time_us=None))
    store.write([one])
    store.keep_traces([pack(one, "error", [], service="nginx", has_messages=False)], 1 << 20)
    text = io.StringIO()
    print_trace(Console(file=text, width=140, force_terminal=False), Traces(store).trace(OTHER))
    assert text.getvalue().splitlines()[1].strip() == said


def test_the_command_draws_it(store):
    done = CliRunner().invoke(app, ["trace", TRACE, "--store", "sqlite:t.db"])
    assert done.exit_code == 0, done.output
    for words in (
        "GET /orders/7  500  ana@example.com (ana-laptop, 100.64.0.7)", "10.0 ms  waiting for the app to begin",
        "    SELECT prices", "━", "KeyError  in GET /orders/{id}", "/srv/shop/orders.py:40 in total",
        "return prices[name]",
    ):  # fmt: skip
        assert words in done.stdout
    assert "starlette" not in done.stdout, "the app's own lines are what one reads"
    assert json.loads(CliRunner().invoke(app, ["trace", TRACE, "--json", "--store", "sqlite:t.db"]).stdout)["spans"]
    lines = CliRunner().invoke(app, ["trace", TRACE, "--otlp", "--store", "sqlite:t.db"]).stdout.splitlines()
    assert [list(json.loads(line)) for line in lines] == [["resourceSpans"]]
    assert CliRunner().invoke(app, ["trace", "0" * 32, "--store", "sqlite:t.db"]).exit_code == 1
    assert CliRunner().invoke(app, ["trace", "xyz", "--store", "sqlite:t.db"]).exit_code == 2


def test_over_http(store):
    made = FastAPI(responses=ERRORS)
    made.include_router(trace_router(Traces(store)))

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://test") as client:
            return await client.get(path)

    found = asyncio.run(ask(f"/analytics/traces/{TRACE}")).json()
    assert (found["requests"][0]["user"], len(found["spans"])) == (ANA.user, 5)
    lines = asyncio.run(ask(f"/analytics/traces/{TRACE}/otlp"))
    assert lines.headers["content-disposition"] == f'attachment; filename="trace-{TRACE}.jsonl"'
    assert len(lines.text.splitlines()) == 1
    missing = asyncio.run(ask(f"/analytics/traces/{'0' * 32}"))
    assert (missing.status_code, "not kept" in missing.json()["detail"]) == (404, True)
    assert asyncio.run(ask("/analytics/traces/x")).status_code == 422
    assert asyncio.run(ask(f"/analytics/traces/{TRACE}?houres=1")).status_code == 422


def test_an_assistant_is_told_where_the_time_went_and_which_lines_broke(store):
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, lambda: T0 + 60 * S, Traces(store))
    answer = Toolbox(TOOLS, source, Words("en")).call("explain_request", {"trace_id": TRACE})
    said = answer.text.splitlines()
    phases = "connecting to the app 2.0ms; waiting for the app to begin 10ms; app until its first byte 68ms; "
    assert said[2] == f"Its time: {phases}the rest of its answer 15ms; client, network and nginx 25ms."
    slowest = "GET (shop) 30ms; SELECT prices (shop) 20ms; GET /orders/{id} (shop) 16ms."
    assert said[3] == f"Of its 5 spans, most time of their own had: {slowest}"
    assert said[4:6] == [
        "KeyError in GET /orders/{id} (shop), in the app's own code:",
        "  /srv/shop/orders.py:40 total: return prices%5Bname%5D",
    ]
    (failure,) = answer.structured["trace"]["failures"]
    assert [(one["file"], one["line"]) for one in failure["frames"]] == [("/srv/shop/orders.py", 40)]
    unkept = LocalSource(Insights(store, queries, features={}), None, lambda: T0 + 60 * S, None)
    assert "trace" not in Toolbox(TOOLS, unkept, Words("en")).call("explain_request", {"trace_id": TRACE}).structured


@pytest.mark.parametrize(
    ("children", "own"),
    [([], 10), ([(2, 3)], 7), ([(0, 10)], 0), ([(1, 4), (2, 4)], 5), ([(-5, 8), (6, 20)], 3)],
)
def test_time_of_its_own_is_what_no_child_was_at_work_in(children, own):
    whole = answers.Span(
        id="a", parent_id=None, depth=0, name="", kind=None, service=None, version=None, nginx=False, start_ms=0,
        duration_ms=10, outside=False, failed=False, message=None, failures=(), events=(), attributes=(), links=(),
    )  # fmt: skip
    spans = [whole] + [
        replace(whole, id=str(n), parent_id="a", start_ms=start, duration_ms=length)
        for n, (start, length) in enumerate(children)
    ]
    assert own_times(spans)["a"] == own
