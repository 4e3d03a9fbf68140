"""Requests that are not sampled, in a real app: with `TAILTRACE_UNSAMPLED_SPANS` an error and a slow one are sent."""

import pytest

from tailtrace.settings import SettingsError, read

SPAN = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def app(start_app, collector):
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="50",
        TAILTRACE_UNSAMPLED_SPANS="6",
        TAILTRACE_UNSAMPLED_SLOW_MS="400",
    ) as running:
        yield running


def ask(app, path, flags="00"):
    """Ask with a trace of its own, as nginx does; return answer and trace id."""
    trace_id = f"{app.count + 1:032x}"
    return app.get(path, headers={"traceparent": f"00-{trace_id}-{SPAN}-{flags}"})


def names(spans):
    return sorted(one["name"] for one in spans)


def spans_until_a_sampled_one(app, collector):
    """Ask for one that is sampled, and return all that came until it did."""
    _, trace_id = ask(app, "/items/7", "01")
    collector.of(trace_id)
    return [one for one in collector.spans if one["trace_id"] != trace_id]


def test_an_error_is_sent_with_its_children(app, collector):
    answer, trace_id = ask(app, "/children/500")
    assert answer.status_code == 500
    collector.wait(lambda: len([one for one in collector.spans if one["trace_id"] == trace_id]) == 3)
    spans = collector.of(trace_id)
    assert names(spans) == ["GET /children/{code}", "inner", "outer 0"]
    (request,) = [one for one in spans if one["kind"] == 2]
    assert (request["parent"], request["status"], request["attributes"]["error.type"]) == (SPAN, 2, "500")


def test_an_exception_is_sent_with_its_stack(app, collector):
    _, trace_id = ask(app, "/raises")
    (span,) = collector.of(trace_id)
    ((name, attributes),) = span["events"]
    assert (name, attributes["exception.type"]) == ("exception", "ValueError")
    assert "traced_app.py" in attributes["exception.stacktrace"]


def test_a_slow_answer_is_sent(app, collector):
    _, trace_id = ask(app, "/children/200?wait_s=0.5")
    collector.wait(lambda: len([one for one in collector.spans if one["trace_id"] == trace_id]) == 3)


def test_any_other_is_not_and_whoever_is_called_is_told_the_truth(app, collector):
    before = len(collector.spans)
    answers = [ask(app, path) for path in ("/children/200", "/children/404", "/items/7", "/healthz")]
    assert answers[0][0].json()["traceparent"].endswith("-00"), "the request is not sampled"
    assert spans_until_a_sampled_one(app, collector)[before:] == []


def test_what_waits_is_bounded(app, collector):
    _, trace_id = ask(app, "/children/500?count=5")
    spans = collector.wait(lambda: [one for one in collector.spans if one["trace_id"] == trace_id][2:])
    spans_until_a_sampled_one(app, collector)
    spans = collector.of(trace_id)
    assert "GET /children/{code}" in names(spans)
    assert len(spans) < 8, "ten children were more than six"
    _, again = ask(app, "/children/500")
    collector.wait(lambda: len([one for one in collector.spans if one["trace_id"] == again]) == 3)


def test_a_sampled_request_is_as_ever(app, collector):
    answer, trace_id = ask(app, "/children/200", "01")
    assert answer.json()["traceparent"].endswith("-01")
    collector.wait(lambda: len([one for one in collector.spans if one["trace_id"] == trace_id]) == 3)


def test_without_the_setting_there_are_none(start_app, new_collector):
    collector = new_collector()
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50") as running:
        assert ask(running, "/children/500")[0].status_code == 500
        assert spans_until_a_sampled_one(running, collector) == []
    collector.close()


def test_what_is_the_sdks_way_is_as_the_sdk_has_it(start_app, new_collector):
    collector = new_collector()
    told = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "TAILTRACE_UNSAMPLED_SPANS": "9"}
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50", **told) as running:
        assert ask(running, "/children/500")[0].status_code == 500
        assert spans_until_a_sampled_one(running, collector) == []
    collector.close()


@pytest.mark.parametrize("name", ["TAILTRACE_UNSAMPLED_SPANS", "TAILTRACE_UNSAMPLED_SLOW_MS"])
def test_the_settings(name, start_app, collector):
    assert (read({}).unsampled_spans_max, read({}).unsampled_slow_ms) == (0, 1000)
    field = {"TAILTRACE_UNSAMPLED_SPANS": "unsampled_spans_max"}.get(name, "unsampled_slow_ms")
    assert getattr(read({name: "12"}), field) == 12
    with pytest.raises(SettingsError, match=f"{name} is 'many': it must be a whole number"):
        read({name: "many"})
