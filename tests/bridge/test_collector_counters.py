"""Whether raw spans are lost, by what the collector's `/metrics` says at each look."""

import pytest

from tailtrace_bridge.spans.collector import RawSpans, RawSpansWatch, count

METRICS = """\
# HELP otelcol_exporter_sent_spans_total Number of spans successfully sent to destination.
# TYPE otelcol_exporter_sent_spans_total counter
otelcol_exporter_sent_spans_total{exporter="influxdb",otel_scope_name="a b"} 1200
otelcol_exporter_sent_spans_total{exporter="otlp_http/bridge",otel_scope_name="a b"} 9e+06
otelcol_exporter_send_failed_spans_total{exporter="influxdb",otel_scope_name="a b"} 34
otelcol_exporter_send_failed_log_records_total{exporter="influxdb"} 5
otelcol_exporter_queue_size{exporter="influxdb"} 7
"""


def test_the_counters_of_its_exporter_for_influxdb_alone():
    assert count(METRICS) == RawSpans(given_up=34, stored=1200)
    assert count(METRICS.replace("_total{", "{")) == RawSpans(34, 1200), "older collectors name them so"
    assert count("") == RawSpans(0, 0)


AWAY = None


@pytest.mark.parametrize(
    ("looks", "is_losing"),
    [
        ([(0, 0)], [False]),
        ([(2, 0)], [True]),
        ([(2, 9)], [False]),
        ([(0, 9), (2, 9)], [False, True]),
        ([(0, 9), (2, 12)], [False, True]),
        ([(2, 0), (2, 0), (2, 1), (2, 1)], [True, True, False, False]),
        ([(2, 0), AWAY, (2, 3)], [True, True, False]),
        ([AWAY, (0, 0)], [False, False]),
        ([(2, 0), (0, 0)], [True, False]),
        ([(9, 9), (3, 0)], [False, True]),
    ],
)
def test_each_look(looks, is_losing):
    left = iter(looks)

    def look():
        if (found := next(left)) is AWAY:
            raise ConnectionRefusedError
        return RawSpans(*found)

    watch = RawSpansWatch(look)
    said = [watch.problem() for _ in looks]
    assert [bool(one) for one in said] == is_losing
    for one, found in zip(said, looks, strict=True):
        if one and found:
            assert f"{found[0]} since the collector began" in one
