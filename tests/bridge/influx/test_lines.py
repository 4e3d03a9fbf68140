"""A row and its line, side by side."""

from tailtrace_bridge.core.columns import columns_of
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx.wire import lines


def test_a_row_and_its_line():
    who = Identity("100.64.0.7", "user", "ana smith@example.com", "ana-laptop", "n1", "", "localapi", "u1")
    access = Access(
        1_759_924_800_123_000, 5_000_042, who.address, "GET", '/items/"7"', 503, 12_345, 11_000, True, 99, "shop",
        "ab" * 16, "cd" * 8, "curl/8 \\", "",
    )  # fmt: skip
    row = Row(access, who, "/items/{id}", Traffic.APP, 9_000, "TimeoutError", 7)
    columns = columns_of([row])
    maker = lines.LineMaker(columns, columns.identities, ["/items/{id}"], "web 1")
    assert maker.line(0, lines.first_slot(access.time_us, access.key)).decode() == (
        r"api_access,device=ana-laptop,endpoint=/items/{id},kind=user,method=GET,node_id=n1,service=shop,source=web\ 1,"
        r"status_class=5xx,user=ana\ smith@example.com,user_id=u1 "
        r"key=5000042i,time_us=1759924800123000i,status_code=503i,traffic=0i,bytes=99i,"
        r'path="/items/\"7\"",ip="100.64.0.7",provider="localapi",expired=false,identified_us=7i,'
        r"response_time_ms=12.345,upstream_time_ms=11.0,app_time_ms=9.0,"
        r'trace_id="abababababababababababababababab",span_id="cdcdcdcdcdcdcdcd",error_type="TimeoutError",'
        r'agent="curl/8 \\" 1759924800123000042'
    )


def test_an_address_that_nobody_names_makes_no_series_of_its_own():
    who = Identity("203.0.113.9", "external")
    access = Access(0, 1, who.address, "GET", "/", 200, None, None, False, 0, "", "", "", "", "")
    columns = columns_of([Row(access, who, "/", Traffic.BOT, None, "")])
    line = lines.LineMaker(columns, columns.identities, ["/"], "a").line(0, 1).decode()
    assert line.split(" ")[0] == "api_access,endpoint=/,kind=external,method=GET,source=a,status_class=2xx"


def test_slots_stay_in_their_millisecond():
    assert lines.first_slot(1_234_567, 8_000_009) == 1_234_000_009
    assert lines.next_slot(1_234_000_009) == 1_234_000_010
    assert lines.next_slot(1_234_999_999) == 1_234_000_000


def test_a_duration_comes_back_to_the_microsecond():
    assert all(lines.to_us(took_us / lines.MS_US) == took_us for took_us in (*range(3_000), 10**9 + 1, 86_399_999_999))
