"""`/metrics` shows every counter: each record of counters that the packages have, field by field."""

import dataclasses
import importlib
import itertools
import pkgutil
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tailtrace
import tailtrace_api
import tailtrace_bridge
from tailtrace_api.access.guard import AccessCounters
from tailtrace_api.http import metrics
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.export import request_durations
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.wiring import bridge as build

SHOWN_BY_REASON = {"PipelineCounters.rejected": "tailtrace_lines_refused"}
"""Fields that are the sum of a family with labels: to add them would count twice."""
OF_THE_TOOLS = {"Counts", "FenceCounts"}
"""They come together, as `Toolbox.all_counts` gives them."""
NOT_A_SERVER = ("tailtrace_api.demo", "tailtrace_api.answers", "tailtrace_api.http.document", "tailtrace_api.main")


def classes():
    """All records of counters: dataclasses whose names end in Counters or Counts."""
    found = {}
    for package in (tailtrace, tailtrace_bridge, tailtrace_api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(NOT_A_SERVER):
                for one in vars(importlib.import_module(module.name)).values():
                    if (
                        isinstance(one, type)
                        and dataclasses.is_dataclass(one)
                        and one.__name__.endswith(("Counters", "Counts"))
                    ):
                        found[one] = None
    return list(found)


CLASSES = classes()


def filled(kind):
    """One whose fields have each a number of its own, and what each number is."""
    numbers, values, expected = itertools.count(1_000_003, 1000), {}, {}
    for field in dataclasses.fields(kind):
        number = next(numbers)
        values[field.name] = {"some": number} if "dict" in str(field.type) else number
        expected[f"{kind.__name__}.{field.name}"] = number
    return kind(**values), expected


def shown_numbers(families):
    return {sample.value for family in families for sample in family.samples}


def missing(kind):
    record, expected = filled(kind)
    numbers = shown_numbers(metrics.of_record(record))
    return [
        name
        for name, number in expected.items()
        if not {number, number / 1e6} & numbers and name not in SHOWN_BY_REASON
    ]


def test_there_are_records():
    names = {one.__name__ for one in CLASSES}
    assert names >= {
        "PipelineCounters",
        "TailCounters",
        "ReceiverCounters",
        "InfluxCounters",
        "WriteCounters",
        "TransportCounts",
    }


@pytest.mark.parametrize(
    "kind", [one for one in CLASSES if one.__name__ not in OF_THE_TOOLS], ids=lambda one: one.__name__
)
def test_every_field_of_a_record_is_shown(kind):
    assert missing(kind) == []


def test_a_record_that_somebody_adds_is_shown_without_a_row_of_its_own():
    @dataclasses.dataclass
    class SpoonCounters:
        stirred: int = 0
        lost: dict[str, int] = dataclasses.field(default_factory=dict)

    assert missing(SpoonCounters) == []


@pytest.fixture(params=["sqlite", "influxdb"])
def bridge(request, own_folder, monkeypatch):
    """A bridge with all of its parts; an InfluxDB is not asked before something is written to it."""
    monkeypatch.setenv("TAILSCALE_API_KEY", "tskey-api-x")
    monkeypatch.setenv("INFLUXDB_V2_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", "t")
    monkeypatch.setenv("INFLUXDB_V2_ORG", "o")
    store = f"sqlite:{own_folder / 't.db'}" if request.param == "sqlite" else "influxdb"
    made = build.make_bridge(
        settings.load(
            store=store,
            log=str(own_folder / "x.log"),
            alerts=[{"kind": "store_down"}],
            checkpoint=own_folder / "c.json",
            tailscale_socket=own_folder / "none",
        )
    )
    yield request.param, made
    made.stop()


def test_a_bridge_shows_the_records_of_all_of_its_parts(bridge):
    kind, made = bridge
    records = {type(one).__name__ for one in (*made.counter_records(), AccessCounters())}
    expected = (
        {one.__name__ for one in CLASSES}
        - OF_THE_TOOLS
        - {"WriteCounters", "SpanExportCounters"}
        - {"MetricExportCounters"}
    )
    assert records == expected - {"SqliteCounters" if kind == "influxdb" else "InfluxCounters"}
    text = metrics.render(made, {}, AccessCounters()).decode()
    assert ('tailtrace_influxdb_writes_total{event="rejected",of="rollups"} 0.0' in text) is (kind == "influxdb")
    assert 'tailtrace_identity_provider_total{event="failures",provider="snapshot"} 0.0' in text
    assert 'tailtrace_identity_provider_total{event="oversized",provider="localapi"} 0.0' in text
    for name in (
        "defects",
        "otlp_disconnected",
        "routes_unlearned",
        "logs_forgotten",
        "access_peers_forgotten",
        "control_api",
    ):
        assert re.search(rf"^tailtrace_{name}_total", text, re.MULTILINE), name
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_the_counts_of_the_tools_come_together():
    box = Toolbox(TOOLS, LocalSource(None, None, lambda: 0), Words("en"))
    of_the_tools = [one for one in CLASSES if one.__name__ in OF_THE_TOOLS]
    assert box.all_counts().keys() == {field.name for one in of_the_tools for field in dataclasses.fields(one)}


def test_requests_are_a_histogram_named_as_opentelemetry_names_it(bridge):
    access = Access(0, 1, "100.64.0.7", "GET", "/a", 500, 60_000, None, True, 5, "shop", "", "", "", "")
    row = Row(access, Identity("100.64.0.7", "user", "ana@example.com"), "/a", Traffic.APP, None, "KeyError")
    bridge[1].durations.offer([row, row])
    text = metrics.render(bridge[1], {}, AccessCounters()).decode()
    [family] = [
        one for one in text_string_to_metric_families(text) if one.name == "http_server_request_duration_seconds"
    ]
    labels = {
        "http_request_method": "GET", "http_route": "/a", "http_response_status_code": "500",
        "error_type": "KeyError", "url_scheme": "", "server_address": "shop", "otel_metric_overflow": "",
    }  # fmt: skip
    values = {(one.name, one.labels.get("le", "")): one.value for one in family.samples}
    assert family.type == "histogram"
    assert all(labels.items() <= one.labels.items() for one in family.samples)
    assert values["http_server_request_duration_seconds_bucket", "0.05"] == 0
    assert values["http_server_request_duration_seconds_bucket", "0.075"] == 2
    assert values["http_server_request_duration_seconds_bucket", "+Inf"] == 2
    assert values["http_server_request_duration_seconds_count", ""] == 2
    assert values["http_server_request_duration_seconds_sum", ""] == pytest.approx(0.12)
    assert "ana" not in text


def test_a_route_that_says_true_is_shown_as_it_is(bridge, monkeypatch):
    access = Access(0, 1, "100.64.0.7", "GET", "/a", 500, 60_000, None, True, 5, "True.example", "", "", "", "")
    rows = [
        Row(access, Identity("100.64.0.7", "user", ""), route, Traffic.APP, None, "IsTrueError")
        for route in ("/isTrue", "/istrue", "/beyond")
    ]
    monkeypatch.setattr(request_durations, "SERIES_MAX", 2)
    bridge[1].durations.offer(rows)
    text = metrics.render(bridge[1], {}, AccessCounters()).decode()
    shown = [
        (one.labels["http_route"], one.labels["error_type"], one.labels["server_address"],
         one.labels["otel_metric_overflow"], one.value)
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == "http_server_request_duration_seconds_count"
    ]  # fmt: skip
    assert shown == [
        ("/isTrue", "IsTrueError", "True.example", "", 1.0),
        ("/istrue", "IsTrueError", "True.example", "", 1.0),
        ("", "", "", "true", 1.0),
    ]
