"""The report for people: the numbers of the answers, in both languages, with a stranger's text left as text."""

import io

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from tailtrace_api.answers.request_records import Report
from tailtrace_api.terminal import report

TIMES = {"avg_ms": 12.5, "p50_ms": 10.0, "p95_ms": 1234.5, "p99_ms": None}
WINDOW = {"from": "2025-10-07T12:00:00.000Z", "to": "2025-10-08T12:00:00.000Z"}
RATES = {"error_rate": 0.0625, "requests": 2000, "errors_5xx": 1, "errors_4xx": 0, "client_closed_499": 0}
QUERIES = {"store": "sqlite", "count": 0, "avg_ms": None, "p50_ms": None, "p95_ms": None, "max_ms": None}


def answers(requests=7, user="ana@example.com"):
    summary = {
        "total_requests": requests, "unique_users": 1, "unique_devices": 2, "unique_addresses": 3,
        "avg_response_time_ms": 12.5, "errors_5xx": 0,
    }  # fmt: skip
    return {
        "access_logs": {"window": WINDOW, "summary": summary, "logs": [], "next_cursor": None},
        "dashboard_usage": {
            "window": WINDOW,
            "timezone": "Europe/Madrid",
            "summary": summary | {"total_sessions": 3},
            "user_sessions": [
                {
                    "user": user, "kind": "user", "devices": [], "sessions": 3, "total_time_hours": 1.25, "requests": 7,
                    "favorite_features": ["Dashboard"], "last_seen": "2025-10-08T11:59:59.000Z",
                }
            ],
            "most_viewed_cards": [{"card": "prices", "name": "prices", "views": 41}],
            "peak_hours": [{"hour": hour, "requests": 8 if hour == 9 else 0} for hour in range(24)],
            "api_calls_by_endpoint": [],
            "api_calls_by_service": [],
            "truncated": {},
        },
        "system_health_history": {
            "window": WINDOW, "uptime_method": "traffic", "uptime_over_time": [], "over_time": [], "service": None,
            "uptime_over_time_in_part": [], "over_time_in_part": [],
            "uptime_by_service": [], "outages": [], "minutes_partial": 4, "minutes_down": 1,
            "influxdb_query_times": QUERIES | {"over_time": []}, "data_freshness_seconds": None,
            "error_rate": {
                "overall": RATES | {"requests": requests and requests + 1993},
                "by_endpoint": [RATES | {"endpoint": "/a/{id}", "service": "shop"}],
            },
            "api_response_times": [
                {
                    "endpoint": "/a/{id}", "service": "shop", "count": 7, **TIMES, "app": TIMES, "app_count": 7,
                    "proxy_avg_ms": None, "proxy_count": 0,
                },
            ],
            "uptime_percentage": 99.5,
            "minutes_with_traffic": 200,
            "truncated": {},
        },
    }  # fmt: skip


def printed(answer, lang="en", width=120, **more) -> str:
    console = Console(file=io.StringIO(), width=width)
    report.print_report(console, TypeAdapter(Report).validate_python(answer), lang, **more)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("lang", "says"),
    [
        (
            "en",
            """\
Usage: 7 requests from 3 addresses, by 1 user on 2 devices; 0 errors (5xx), 12 ms on average
All traffic: 2,000 requests, 1,993 of them no usage (health checks, bots, files); 1 error (5xx), 6.25%
Uptime: 99.5% of 200 minutes with traffic; down in 1 minute, in 4 partly
""",
        ),
        (
            "es",
            """\
Uso: 7 accesos desde 3 direcciones, de 1 usuario en 2 dispositivos; 0 errores (5xx), 12 ms de media
Todo el tráfico: 2.000 accesos, de ellos 1.993 que no son uso (comprobaciones de salud, robots, ficheros); 1 error
(5xx), 6,25 %
Disponible: 99,5 % de 200 minutos con tráfico; caído en 1 minuto, en 4 en parte
""",
        ),
    ],
)
def test_what_is_said(lang, says):
    text = "".join(f"{line.rstrip()}\n" for line in printed(answers(), lang).splitlines())
    for part in (
        says,
        "2025-10-07 14:00",
        "(Europe/Madrid)",
        "ana@example.com",
        "1 h 15 min",
        "Dashboard",
        "2025-10-08 13:59",
    ):
        assert part in text
    for part in ("/a/{id}", "prices", "41", "00          █               23", "(usage)" if lang == "en" else "(uso)"):
        assert part in text


def test_where_nobody_has_a_name_it_is_said_so():
    answer = answers()
    answer["dashboard_usage"]["summary"] |= {"unique_users": 0, "unique_devices": 0, "avg_response_time_ms": None}
    says = (
        "Usage: 7 requests from 3 addresses, none of them with a name; 0 errors (5xx), no response times in this log\n"
    )
    assert says in printed(answer)


def test_traffic_without_usage():
    answer = answers()
    answer["dashboard_usage"]["user_sessions"] = []
    assert "Who (usage): nobody, all that came are health checks, bots and files\n" in printed(answer)


LONG = {
    "user": "maximiliana.wolkenstein@example.com", "kind": "user", "devices": [], "sessions": 1234,
    "total_time_hours": 1234.5, "requests": 12345678,
    "favorite_features": ["/a-long-name-of-a-route/{id}/of-a-part/{id}", "Daily production plan", "/b"],
    "last_seen": "2025-10-08T11:59:59.000Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("width", "seen", "shows"),
    [
        (60, "10-08 13:59", {"uses most": False, "p99": False}),
        (80, "10-08 13:59", {"uses most": True, "p99": True}),
        (120, "2025-10-08 13:59", {"uses most": True, "p99": True}),
    ],
)
def test_no_width_cuts_anything(width, seen, shows):
    answer = answers()
    answer["dashboard_usage"]["user_sessions"] = [LONG]
    times = {"avg_ms": 98765.4, "p50_ms": 98765.4, "p95_ms": 98765.4, "p99_ms": 98765.4}
    endpoint = {
        "endpoint": "/a-long-name-of-a-route/{id}/of-a-part/{id}",
        "service": "shop",
        "count": 12345678,
        **times,
        "app": times,
    }
    endpoint |= {"proxy_avg_ms": None, "proxy_count": 0, "app_count": 0}
    answer["system_health_history"]["api_response_times"] = [endpoint]
    text = printed(answer, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert [line for line in text.splitlines() if "12,345,678" in line and line.rstrip().endswith(seen)]
    assert {name: name in text for name in shows} == shows
    # A name goes on in the next line of its column.
    column = text[text.index("\nuser") :].split("\n\n")[0].splitlines()[3:]
    assert "".join(line.split(" ")[0] for line in column) == LONG["user"]


def test_times_are_those_of_the_zone_also_when_the_clock_goes_back():
    answer = answers()
    answer["dashboard_usage"]["user_sessions"][0]["last_seen"] = "2025-10-26T01:30:00.000Z"
    assert "2025-10-26 02:30" in printed(answer)


def test_what_has_no_route_of_its_own_is_named():
    answer = answers()
    answer["system_health_history"]["api_response_times"][0]["endpoint"] = "__other__"
    assert "other addresses" in printed(answer)
    assert "otras direcciones" in printed(answer, "es")


def test_what_is_left_out_is_said():
    answer = answers()
    people = answer["dashboard_usage"]["user_sessions"]
    people += [people[0]] * 14
    assert "and 3 more: `--json` has them" in printed(answer)
    assert "y 3 más: `--json` los tiene" in printed(answer, "es")
    answer["dashboard_usage"]["truncated"] = {"user_sessions": 1_012}
    assert "and 1,000 more" in printed(answer), "of all, not of those that the answer has"
    answer["dashboard_usage"]["truncated"] = {}
    del people[12:]
    assert "more:" not in printed(answer)


def test_no_requests():
    text = printed(answers(requests=0))
    assert "No requests in this window." in text
    assert "ana@example.com" not in text


def test_before_the_first_request_it_says_where_they_are():
    answer = answers(requests=0)
    answer["system_health_history"]["data_freshness_seconds"] = None
    found = [printed(answer, lang, stored=("2025-10-01", "2025-10-08")) for lang in ("en", "es")]
    assert "No requests in this window. Requests are stored from 2025-10-01 to 2025-10-08 (days of UTC)." in found[0]
    assert "Sin accesos en este periodo. Los guardados van del 2025-10-01 al 2025-10-08 (días UTC)." in found[1]
    assert "Is TAILTRACE_LOG the log that nginx writes?" in printed(answer)


def test_markup_of_a_stranger_is_text():
    assert "[red]x[/red][link=http://a]" in printed(answers(user="[red]x[/red][link=http://a]"))
