"""Kept traces: which requests, what is held until then, what stays of a span, and how the store keeps it."""

import json
import traceback
import zlib

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tailtrace_bridge.core.records import Access, Identity, KeptTrace, Row, Traffic, WholeSpan
from tailtrace_bridge.export.choice import KNOWN_MIN
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.spans.otlp import JSON, PROTOBUF, decode_traces
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import traces as tables
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces import held as held_module
from tailtrace_bridge.traces.choice import TraceChoice, Wanted
from tailtrace_bridge.traces.held import SPANS_MAX, HeldSpans
from tailtrace_bridge.traces.keeper import TraceKeeper
from tailtrace_bridge.traces.pack import TRACE_BYTES_MAX, pack, to_otlp_json, unpack
from tailtrace_bridge.traces.scrubbed import ATTRIBUTES_MAX, TEXT_LENGTH_MAX, scrubbed
from tailtrace_bridge.traces.stack import frames_of, without_messages

S = 1_000_000
T0 = 1_759_924_800 * S
TRACE = bytes.fromhex("ab" * 16)
NGINX = bytes.fromhex("cd" * 8)
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")


def row(
    key=1, status=200, *, who=ANA, at_us=T0, took_us=50_000, error="", route="/a", trace=TRACE, traffic=Traffic.APP
):
    access = Access(
        at_us, key, who.address, "GET", route, status, took_us, took_us, True, 10, "shop", trace.hex(), NGINX.hex(),
        "curl/8", "",
    )  # fmt: skip
    return Row(access, who, route, traffic, None, error)


def value_of(value):
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)


def span(number=1, parent=NGINX, *, kind=Span.SPAN_KIND_INTERNAL, trace=TRACE, name="work", events=(), **attributes):
    pairs = [KeyValue(key=key.replace("__", "."), value=value_of(value)) for key, value in attributes.items()]
    return Span(
        trace_id=trace, span_id=number.to_bytes(8), parent_span_id=parent, name=name, kind=kind,
        start_time_unix_nano=(T0 + number) * 1000, end_time_unix_nano=(T0 + number + 10) * 1000, attributes=pairs,
        events=events,
    )  # fmt: skip


def sent(one, service="shop", version="1.2"):
    return WholeSpan(one.trace_id, one.SerializeToString(), service, version)


def packed(*spans, of=None, has_messages=False):
    return pack(of or row(), "error", [sent(one) for one in spans], service="nginx", has_messages=has_messages)


# What the receiver gives.


def request_of(*spans, scope=""):
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    for key, value in (("service.name", "shop"), ("service.version", "1.2")):
        of_resource.resource.attributes.add(key=key).value.string_value = value
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = scope
    of_scope.spans.extend(spans)
    return request


@pytest.mark.parametrize("media", [PROTOBUF, JSON])
def test_spans_of_every_kind_are_given_whole_in_either_encoding(media):
    spans = [span(n, kind=kind, answer=n) for n, kind in enumerate(range(6), 1)]
    request = request_of(*spans)
    body = request.SerializeToString()
    if media == JSON:
        body = json.dumps(to_otlp_json(zlib.compress(body))).encode()
    decoded = decode_traces(body, media, has_whole=True)
    assert [(Span.FromString(one.data), one.service, one.version) for one in decoded.whole] == [
        (one, "shop", "1.2") for one in spans
    ]
    assert (len(decoded.spans), decoded.ignored) == (1, 5)
    assert decode_traces(body, media).whole == []


def test_what_has_no_ids_or_times_or_is_our_own_is_not_given():
    bad = [span(1), span(2), span(3), span(4)]
    bad[0].trace_id = bytes(16)
    bad[1].span_id = b"short"
    bad[2].end_time_unix_nano = 1
    bad[3].parent_span_id = b"x"
    decoded = decode_traces(request_of(*bad).SerializeToString(), PROTOBUF, has_whole=True)
    assert (decoded.whole, decoded.reasons, decoded.ignored) == ([], {"bad-id": 3, "bad-time": 1}, 0)
    ours = request_of(span(1), scope="tailtrace.nginx").SerializeToString()
    assert decode_traces(ours, PROTOBUF, has_whole=True).whole == []


@pytest.mark.parametrize(
    "broken",
    [
        {"traceId": "zz" * 16}, {"traceId": 7}, {"spanId": ["ab"]}, {"name": {}}, {"kind": "odd"}, {"links": 3},
        {"attributes": [{"key": 3, "value": {}}]}, {"startTimeUnixNano": "x"}, {"startTimeUnixNano": 1 << 70},
        {"events": [{"attributes": [{"value": {"arrayValue": {"values": 5}}}]}]}, {"status": {"message": 5}},
        {"kind": float("inf")}, {"status": {"code": float("-inf")}}, {"droppedLinksCount": 1e308},
        {"startTimeUnixNano": 253402300799 * 10**9, "endTimeUnixNano": 253402300799 * 10**9},  # the year 9999
        {"startTimeUnixNano": -62135596800 * 10**9}, {"startTimeUnixNano": "0001-01-01T00:00:00Z"},
    ],
)  # fmt: skip
def test_json_of_another_shape_is_left_out(broken):
    one = {
        "traceId": "ab" * 16, "spanId": "ef" * 8, "name": "x", "kind": 1, "startTimeUnixNano": str(T0 * 1000),
        "endTimeUnixNano": str(T0 * 1000 + 5), "links": [{"traceId": "cd" * 16, "spanId": "12" * 8}],
    }  # fmt: skip
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [one, {**one, **broken}]}]}]}
    decoded = decode_traces(json.dumps(body).encode(), JSON, has_whole=True)
    whole = decoded.whole
    assert len(whole) + decoded.rejected == 2
    assert all(Span.FromString(span.data).name == "x" for span in whole)
    passed_over = [{"links": 3}, {"kind": "odd"}]  # an unknown name of a kind, or links that are none
    assert len(whole) == (2 if broken in passed_over else 1)


# What is held.


def test_spans_and_line_come_in_any_order():
    held = HeldSpans()
    early, late = sent(span(1)), sent(span(2))
    held.add([early])
    held.want(TRACE)
    held.add([late])
    assert held.take(TRACE) == [early, late]
    assert held.take(TRACE) == []
    held.add([early])
    held.refuse(TRACE)
    held.add([late])
    assert (len(held), held.counters.unwanted) == (0, 2)
    held.want(TRACE)  # another line of the same trace
    held.add([late])
    held.refuse(TRACE)
    assert held.take(TRACE) == [late]
    assert held.counters.whole_spans == 5


def test_what_is_held_is_bounded_and_counted(monkeypatch):
    held = HeldSpans(bytes_max=100_000)
    for n in range(1, 2001):
        held.add([sent(span(n, trace=n.to_bytes(16)))])
    assert held._bytes <= 100_000
    assert len(held) + held.counters.evicted == 2000
    assert held.take((2000).to_bytes(16)), "the newest stays"
    held = HeldSpans()
    held.add([sent(span(n)) for n in range(1, SPANS_MAX + 8)])
    held.add([sent(span(1, trace=b"o" * 16, long="x" * held_module.SPAN_BYTES_MAX))])
    assert (len(held.take(TRACE)), held.counters.cut) == (SPANS_MAX, 8)
    monkeypatch.setattr(held_module, "REFUSED_MAX", 10)
    for n in range(1, 100):
        held.refuse(n.to_bytes(16))
    assert len(held._refused) == 10


def test_what_nobody_takes_goes():
    held = HeldSpans()
    held.add([sent(span(1)), sent(span(1, trace=b"w" * 16))])
    held.want(b"w" * 16)
    held.age()
    assert len(held) == 2
    held.age()
    assert (len(held), held.counters.unwanted) == (1, 1)
    assert held.take(b"w" * 16)
    assert held._bytes == 0


# Which.


def test_errors_slow_ones_those_asked_for_and_a_sample():
    choice = TraceChoice(Wanted(per_minute=1000, one_in=100, users={"ben@example.com"}, endpoints={"/b"}))
    reasons = [choice.reason(row(n)) for n in range(KNOWN_MIN)]
    assert [n for n, one in enumerate(reasons) if one] == [0, 100]
    assert set(reasons) == {"", "sample"}
    assert choice.reason(row(status=502)) == "error"
    assert choice.reason(row(error="ValueError")) == "error"
    assert choice.reason(row(took_us=900_000)) == "slow"
    assert choice.reason(row(who=BEN)) == "asked"
    assert choice.reason(row(route="/b")) == "asked"
    assert choice.reason(row(route="/health", traffic=Traffic.HEALTH)) == ""
    assert choice.reason(row(status=502, trace=b"")) == "", "without an id nobody could ask for it"
    assert TraceChoice(Wanted(one_in=0)).reason(row()) == ""
    assert TraceChoice(Wanted(one_in=1)).reason(row()) == "sample"


def test_endpoints_beyond_the_limit_share_their_samples(monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.traces.choice.ENDPOINTS_MAX", 2)
    choice = TraceChoice(Wanted(one_in=1000))
    assert [choice.reason(row(route=route)) for route in ("/a", "/b", "/c", "/d")] == ["sample", "sample", "sample", ""]


def test_of_one_endpoint_so_many_in_a_minute():
    choice = TraceChoice(Wanted(per_minute=3, one_in=0))
    reasons = [choice.reason(row(n, 500)) for n in range(5)]
    assert reasons == ["error"] * 3 + [""] * 2
    assert choice.reason(row(6, 500, route="/b")) == "error"
    assert choice.reason(row(7, 500, at_us=T0 + 60 * S)) == "error"
    assert (choice.counters.wanted, choice.counters.over_limit) == (5, 2)


# What stays of a span.


def attributes(one):
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in one.attributes}


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("http.route", "/items/{item_id}", "/items/{item_id}"),
        ("url.full", "https://ana:pw@api.example.com/u?token=abc#x", "https://api.example.com/u"),
        ("http.target", "/u/ana@example.com?q=1", "/u/[email]"),
        ("db.statement", "SELECT 1 FROM t WHERE name = 'Ana O''Hara' AND id = %s", "SELECT 1 FROM t WHERE name = ? AND id = %s"),
        ("db.query.text", "select 'never ends", "select ?"),
        ("db.query.text", r"select 1 where a = 'it\'s my secret' and b = 2", "select 1 where a = ?"),
        ("db.query.text", r"select 1 where a = 'C:\dir' and b = 2", "select 1 where a = ? and b = 2"),
        ("db.query.text", "select $a$my $$ secret$a$, 2", "select ?, 2"),
        ("db.query.text", 'select "t"."id" from "t" where a = "my \\" secret" and b in ("x", "y")', 'select "t"."id" from "t" where a = ? and b in (?, ?)'),
        ("note", "mail ana@example.com", "mail [email]"),
        ("note", "key ghp_0123456789abcdefghij", "key [token]"),
        ("note", "a\x00b\x1b[31m", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"),
        ("note", "x" * 5000, "x" * TEXT_LENGTH_MAX),
        ("rows", 7, 7),
        ("client.address", "100.64.0.7", None),
        ("user.id", "ana", None),
        ("enduser.id", "ana", None),
        ("user_agent.original", "curl", None),
        ("http.user_agent", "curl", None),
        ("http.request.header.cookie", "a=b", None),
        ("http.response.header.set_cookie", "a=b", None),
        ("db.query.parameter.name", "Ana", None),
        ("db.user", "ana", None),
        ("exception.message", "ana is gone", None),
        ("net.peer.name", "db.internal", "db.internal"),
        ("app.password", "hunter2", None),
        ("shop.x-api-key", "k1", None),
        ("auth.token", "abc", None),
        ("Authorization", "abc", None),
        ("app.session_id", "s1", None),
        ("llm.usage.input_tokens", "17", "17"),
        ("llm.token.count", 17, 17),
        ("tokenizer", "fast", "fast"),
        ("note", "sent Authorization: Bearer Abc-123.x~y to db", "sent Authorization: Bearer [token] to db"),
        ("note", "Basic YW5hOmh1bnRlcjI=", "Basic [token]"),
        ("note", "login with password: hunter2, then", "login with password: [token], then"),
        ("note", "Basic settings of a bearer account", "Basic settings of a bearer account"),
        ("error.type", "shop.NoUser: ana", "shop.NoUser"),
        ("exception.type", "ana is gone", "_OTHER"),
        ("app.user", "ana", None),
        ("app.user", 4711, None),
        ("customerEmail", "ana at home", None),
        ("orders.login_name", "ana", None),
        ("shop.buyer.userName", "ana", None),
        ("baggage.enduser", "ana", None),
        ("phone", 34600111222, None),
        ("app.users", 12, 12),
        ("loginPage", "/in", None),
        ("mailer", "smtp", "smtp"),
        ("file.name", "a.csv", "a.csv"),
        ("note", "asked by ana-b@github and C.D@passkey, not a@githubx", "asked by [email] and [email], not a@githubx"),
        ("db.query.text", "select 1 /* ana's own */ from t -- for ana\nwhere a = 2", "select 1 ? from t ?\nwhere a = 2"),
        ("db.query.text", "select '/* no comment' , a /* never ends", "select ? , a ?"),
        ("db.query.text", "select 1 from t where token = ? and password = %s", "select 1 from t where token = ? and password = %s"),
    ],
)  # fmt: skip
def test_what_stays_of_an_attribute(key, value, kept):
    one = Span(kind=Span.SPAN_KIND_CLIENT, attributes=[KeyValue(key=key, value=value_of(value))])
    assert attributes(scrubbed(one, has_messages=False)).get(key) == kept


WORDS = f"{ANA.user.upper()} on {ANA.device} ({ANA.address}), not {ANA.device}s or {BEN.device}"
HIDDEN = f"[person] on [person] ([person]), not {ANA.device}s or {BEN.device}"


@pytest.mark.parametrize("who", [ANA._replace(user="ana@corp", user_id="u9"), ANA])
def test_who_asked_is_in_no_text_of_the_spans(who):
    said = WORDS.replace(ANA.user.upper(), who.user.upper())
    event = Span.Event(name=said)
    event.attributes.add(key="exception.stacktrace").value.string_value = raised() + f"\n{said}"
    event.attributes.add(key="cart").value.array_value.values.add().string_value = said
    one = span(name=said, note=said, events=[event], **{said: 7})
    one.links.add(trace_id=TRACE, span_id=NGINX).attributes.add(key="note").value.string_value = said
    one.status.message = said
    for has_messages in (False, True):
        kept = scrubbed(one, has_messages=has_messages, who=who)
        text = str(kept)
        assert not [word for word in (who.user, "ana@", f"{ANA.device} ", ANA.address) if word in text.lower()], text
        assert (kept.name, attributes(kept)["note"]) == (HIDDEN, HIDDEN)
        assert kept.events[0].attributes[1].value.array_value.values[0].string_value == HIDDEN
    unknown = scrubbed(one, has_messages=True, who=Identity(ANA.address, "unknown"))
    assert ANA.address not in str(unknown)


def test_what_goes_takes_nothing_with_it():
    one = span(client__address="100.64.0.7", a=1, exception__message="gone", b=2, app__password="x", c=3)
    one.links.extend(Span.Link(trace_id=bytes(trace), span_id=bytes(own)) for trace, own in ((16, 8), (15, 8), (16, 7)))
    kept = scrubbed(one, has_messages=False)
    assert attributes(kept) == {"a": 1, "b": 2, "c": 3}
    assert list(kept.links) == [Span.Link(trace_id=bytes(16), span_id=bytes(8))]


@pytest.mark.parametrize(("name", "kept"), [("GET /a?by=ana#b", "GET /a"), ("what? a query", "what? a query")])
def test_a_spans_name_with_a_path_is_kept_like_a_path(name, kept):
    assert scrubbed(span(name=name), has_messages=False).name == kept


def test_the_name_of_a_machine_that_is_nobodys_is_a_word():
    web = Identity("100.64.0.9", "tagged", "", "web", "n9", "tag:web", "localapi")
    assert scrubbed(span(name="render web page of 100.64.0.9"), has_messages=False, who=web).name == (
        "render web page of [person]"
    )


def test_the_peer_of_a_server_span_is_the_person():
    one = span(kind=Span.SPAN_KIND_SERVER, network__peer__address="100.64.0.7", net__sock__peer__addr="100.64.0.7")
    assert attributes(scrubbed(one, has_messages=False)) == {}


def test_a_span_is_bounded():
    one = span(**{f"a{n}": "x" for n in range(500)}, events=[Span.Event(name=f"e{n}") for n in range(100)])
    nested = one.attributes.add(key="nested")
    for _ in range(50):
        nested = (
            nested.value.array_value.values.add()
            if not isinstance(nested, AnyValue)
            else nested.array_value.values.add()
        )
    made = scrubbed(one, has_messages=False)
    assert len(made.attributes) == ATTRIBUTES_MAX
    assert [event.name for event in made.events] == [f"e{n}" for n in range(68, 100)], "the last one ended the request"


SAID = 'no such person: ana\n  File "ana"\nsecond line of hers'


def raised():
    def inner(said):
        raise ValueError(said)

    try:
        try:
            inner(SAID)
        except ValueError as error:
            raise RuntimeError(SAID.upper()) from error
    except RuntimeError as error:
        return "".join(traceback.format_exception(error))


def test_a_stack_stays_without_what_the_exceptions_said():
    stack = raised()
    assert SAID in stack
    kept = without_messages(stack)
    assert "person" not in kept.lower()
    assert "line of hers" not in kept.lower()
    assert kept.count("ValueError") == 2, "once in the code, which is no one's data, and the class"
    assert kept.splitlines()[-1] == "RuntimeError"
    assert [(frame.function, frame.source[:5], frame.is_own) for frame in frames_of(kept)] == [
        ("raised", "raise", True)
    ]
    assert [frame.line for frame in frames_of(kept)] == [frame.line for frame in frames_of(stack)]


FRAMED = 'said:\n  File "/srv/app/hers.py", line 3, in hers\n    her_secret()'


def test_what_was_said_is_no_frame_even_if_it_looks_like_one():
    """A note, or a message that quotes the stack of another process."""

    def fails():
        error = ValueError(FRAMED)
        error.add_note(FRAMED)
        raise error

    with pytest.raises(ValueError, match="hers") as caught:
        fails()
    stack = "".join(traceback.format_exception(caught.value))
    kept = without_messages(stack)
    assert ("hers" in stack, "hers" in kept, kept.splitlines()[-1]) == (True, False, "ValueError")
    assert frames_of(stack)[-1].function == "fails"


def test_a_recursion_keeps_its_class():
    def deep(n):
        return deep(n + 1)

    with pytest.raises(RecursionError) as caught:
        deep(0)
    kept = without_messages("".join(traceback.format_exception(caught.value)))
    *_, repeated, last = kept.splitlines()
    assert (repeated.startswith("  [Previous line repeated "), last) == (True, "RecursionError")
    assert frames_of(kept)[-1].function == "deep"


@pytest.mark.parametrize(
    ("file", "is_own"),
    [
        ("/srv/app/main.py", True),
        ("/srv/app/.venv/lib/python3.12/site-packages/starlette/routing.py", False),
        ("/usr/lib/python3.11/asyncio/base_events.py", False),
        ("/usr/lib/python3/dist-packages/x.py", False),
        ("/home/a/.local/share/uv/python/cpython-3.13.1+freethreaded-linux/lib/python3.13t/asyncio/runners.py", False),
        ("/opt/pypy3.10/lib/pypy3.10/asyncio/tasks.py", False),
        ("/usr/lib/python312.zip/encodings/ascii.py", False),
        ("C:\\Python312\\Lib\\asyncio\\runners.py", False),
        ("C:\\shop\\Lib\\orders.py", True),
        ("/srv/python3/orders.py", True),
        ("C:\\app\\main.py", True),
        ("<frozen importlib._bootstrap>", False),
        ("<string>", False),
    ],
)
def test_whose_a_frame_is(file, is_own):
    (frame,) = frames_of(f'Traceback (most recent call last):\n  File "{file}", line 3, in f\n    x()\nKeyError: 1\n')
    assert frame.is_own is is_own


def test_of_an_exception_group_the_frames_and_classes_stay_and_no_message():
    def fails():
        raise ValueError(SAID)

    try:
        try:
            fails()
        except ValueError as error:
            raise ExceptionGroup(SAID.upper(), [KeyError(SAID), error]) from None
    except ExceptionGroup as group:
        stack = "".join(traceback.format_exception(group))
    kept = without_messages(stack)
    assert "second line of hers" in stack
    assert "no such person" not in kept.lower()
    assert "line of hers" not in kept.lower()
    assert [frame.function for frame in frames_of(kept)] == [frame.function for frame in frames_of(stack)]
    assert frames_of(kept)[-1].function == "fails"
    assert kept.splitlines()[-1] == "ValueError"
    assert "ExceptionGroup" in kept


def test_messages_stay_where_they_are_let_in_scrubbed():
    event = Span.Event(name="exception")
    event.attributes.add(key="exception.message").value.string_value = "no ana@example.com"
    event.attributes.add(key="exception.stacktrace").value.string_value = "ValueError: no ana@example.com"
    one = span(events=[event])
    one.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="no ana@example.com"))
    kept = scrubbed(one, has_messages=True)
    assert {pair.value.string_value for pair in kept.events[0].attributes} == {"no [email]", "ValueError: no [email]"}
    assert kept.status.message == "no [email]"
    assert scrubbed(one, has_messages=False).status.message == ""


# A whole trace.


def test_a_trace_is_nginxs_span_and_the_apps_without_the_person():
    kept = packed(span(1, kind=Span.SPAN_KIND_SERVER, client__address=ANA.address), span(2, (1).to_bytes(8), rows=7))
    assert (kept.time_us, kept.key, kept.trace_id, kept.reason, kept.spans) == (T0, 1, TRACE, "error", 3)
    first, app, child = unpack(kept.data)
    assert (first.kind, first.service, first.is_nginx, first.duration_us) == ("server", "nginx", True, 50_000)
    assert (app.parent_span_id, app.service, app.version, app.start_us) == (first.span_id, "shop", "1.2", T0 + 1)
    assert (child.parent_span_id, child.attributes, child.duration_us) == (app.span_id, {"rows": 7}, 10)
    plain = zlib.decompress(kept.data)
    for text in (ANA.user, ANA.device, ANA.address, ANA.user_id, "curl"):
        assert text.encode() not in plain


def test_a_span_that_came_twice_is_one_and_what_is_too_much_is_bare():
    many = [span(n, long="y" * 900) for n in range(1, SPANS_MAX + 50)]
    kept = packed(*many, *many)
    assert kept.spans == SPANS_MAX
    assert len(zlib.decompress(kept.data)) < TRACE_BYTES_MAX + SPANS_MAX * 100
    spans = unpack(kept.data)
    assert (spans[1].attributes, spans[-1].attributes, spans[-1].name) == ({"long": "y" * 900}, {}, "work")


def test_it_is_given_out_as_otlp_that_our_own_receiver_reads():
    kept = packed(span(1), span(2, (1).to_bytes(8)))
    body = json.dumps(to_otlp_json(kept.data)).encode()
    whole = decode_traces(body, JSON, has_whole=True).whole
    assert [Span.FromString(one.data).span_id for one in whole] == [(1).to_bytes(8), (2).to_bytes(8)]
    assert b"resourceSpans" in body
    assert unpack(b"no zlib") == unpack(zlib.compress(b"\xff\xff")) == []


# The store.


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


def trace_of(one, size=100, reason="error"):
    return KeptTrace(one.access.time_us, one.access.key, TRACE, reason, 1, bytes(size))


def kept_keys(store, scope=None):
    return [entry.key for entry, _ in store.traces(scope or Scope.everybody(), TRACE.hex())]


def bytes_counted(store):
    with store._connections.lent() as connection:
        (really,) = connection.execute("SELECT ifnull(sum(length(data)), 0) FROM trace").fetchone()
        assert tables.size(connection) == really
        return really


def test_a_trace_is_kept_with_its_request_and_goes_with_it(store):
    rows = [row(n, who=(ANA, BEN)[n % 2], at_us=T0 + n * S) for n in range(6)]
    store.write(rows[:5])
    assert store.keep_traces([trace_of(one) for one in rows], 10_000) == 5, "the last has no request"
    assert store.keep_traces([trace_of(rows[0], 999)], 10_000) == 0, "it is kept already"
    assert kept_keys(store) == [0, 1, 2, 3, 4]
    assert kept_keys(store, Scope.member(BEN.user)) == [1, 3]
    assert store.erase(Person(user=BEN.user), is_dry=True).spans == 2
    assert store.erase(Person(user=BEN.user), is_dry=False).spans == 2
    assert (kept_keys(store), bytes_counted(store)) == ([0, 2, 4], 300)
    assert store.keep_traces([trace_of(rows[1])], 10_000) == 0, "whoever was erased stays so"
    store.prune(T0 + 3 * S)
    assert (kept_keys(store), bytes_counted(store)) == ([4], 100)


def test_the_oldest_go_first_when_there_is_no_more_room(store):
    rows = [row(n, at_us=T0 + n * S) for n in range(16)]
    store.write(rows)
    for one in rows:
        store.keep_traces([trace_of(one)], 1000)
        assert bytes_counted(store) <= 1000
    assert kept_keys(store) == [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    store.keep_traces([trace_of(row(99), 50)], 0)
    assert (kept_keys(store), bytes_counted(store)) == ([], 0)


# All of it.


def test_the_keeper_waits_for_the_spans_and_nothing_waits_for_it(store):
    now = [100.0]
    keeper = TraceKeeper(store, TraceChoice(Wanted(one_in=0)), bytes_max=1 << 20, clock=lambda: T0 + 60 * S, service="nginx",
        has_messages=False, monotonic_s=lambda: now[0],
    )  # fmt: skip
    failed, fine = row(1, 500), row(2, trace=b"f" * 16)
    store.write([failed, fine])
    keeper.held.add([sent(span(1)), sent(span(1, trace=b"f" * 16))])
    keeper.offer([failed, fine])
    keeper.keep_due(now[0] + 9)
    assert kept_keys(store) == []
    keeper.held.add([sent(span(2, (1).to_bytes(8))), sent(span(2, trace=b"f" * 16))])
    keeper.keep_due(now[0] + 10)
    ((_, kept),) = store.traces(Scope.everybody(), TRACE.hex())
    assert [one.span_id for one in unpack(kept.data)] == [NGINX.hex(), "00" * 7 + "01", "00" * 7 + "02"]
    assert (keeper.counters.kept, keeper.choice.counters.wanted, len(keeper.held)) == (1, 1, 0)
    store.close()
    keeper.offer([failed])
    keeper.keep_due(now[0] + 20)
    assert keeper.counters.failed == 1, "a store that fails is counted, and ends nothing"


def test_who_is_in_use_is_known_behind_the_pseudonym_however_many_others_come(monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.identity.pseudonyms.CACHED_MAX", 3)
    pseudonyms = Pseudonyms("k" * 16)
    hidden = pseudonyms.identity(ANA)
    for number in range(9):
        other = pseudonyms.identity(ANA._replace(user=f"{number}@example.com"))
        assert pseudonyms.identity(ANA) == hidden
        assert pseudonyms.known(hidden) == ANA
    first = Pseudonyms("k" * 16).identity(ANA._replace(user="0@example.com"))
    assert pseudonyms.known(other) != other
    assert pseudonyms.known(first) == first, "it was long ago"


def test_with_pseudonyms_the_spans_lose_the_names_behind_them(store):
    pseudonyms = Pseudonyms("k" * 16)
    stranger = Pseudonyms("l" * 16).identity(ANA)
    assert pseudonyms.known(stranger) == stranger
    hidden = pseudonyms.identity(ANA)
    assert pseudonyms.known(hidden) == ANA
    keeper = TraceKeeper(store, TraceChoice(Wanted()), bytes_max=1 << 20, clock=lambda: T0 + 60 * S, service="nginx",
                         has_messages=False, monotonic_s=lambda: 0.0, known=pseudonyms.known)  # fmt: skip
    one = row(1, 500, who=hidden)
    store.write([one])
    keeper.hold([sent(span(1, note=f"for {ANA.device} at {ANA.address}"))])
    keeper.offer([one])
    keeper.keep_due(10.0)
    ((_, kept),) = store.traces(Scope.everybody(), TRACE.hex())
    assert unpack(kept.data)[1].attributes == {"note": "for [person] at [person]"}


def test_what_waits_at_the_end_is_kept(store):
    keeper = TraceKeeper(store, TraceChoice(Wanted()), bytes_max=1 << 20, clock=lambda: T0 + 60 * S, service="nginx", has_messages=False,
        monotonic_s=lambda: 0.0,
    )  # fmt: skip
    keeper.start()
    store.write([row(1, 500)])
    keeper.offer([row(1, 500)])
    keeper.stop()
    assert kept_keys(store) == [1]
