"""The whole demo as a user starts it: real nginx, app and `tailtrace serve`, each a process of its own."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tailtrace_api.demo.clients import Step, walk
from tailtrace_api.demo.live_table import LiveTable
from tailtrace_api.demo.neighbours import NEIGHBOURS
from tailtrace_api.demo.people import PEOPLE, identities_toml
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS

TAILTRACE = (sys.executable, "-m", "tailtrace_api.commands.cli")
KEEPING = (
    "import pathlib, sys; from tailtrace_api.demo.run import run_demo; "
    "folder, seconds, rate = sys.argv[1:]; "
    "sys.exit(run_demo(folder=pathlib.Path(folder), seconds=float(seconds), rate=float(rate)))"
)
"""The demo in a folder that can be looked at afterwards."""
OUTCOME = re.compile(
    r"sent (\d+) requests, nginx wrote (\d+) lines, stored (\d+), with the app's part (\d+) of (\d+) proxied lines"
)
END_S_MAX = 60


def target_of(link: Path) -> str:
    """Where a link leads; empty where it is gone by now, as a file that was just closed."""
    try:
        return str(link.readlink())
    except OSError:
        return ""


def descendants(mark: Path) -> list[str]:
    """The commands of all processes with `mark` in their command or environment, or with a file open in it.

    nginx's worker writes its title over its environment; it is known by the log that it has open.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            files = "\n".join(target for file in (process / "fd").iterdir() if (target := target_of(file)))
        except OSError:
            continue
        if os.fsencode(mark) in command + environment + os.fsencode(files):
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


@contextmanager
def running(mark: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """The running command; whatever happens, it is gone afterwards."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEMO_OF_THIS_TEST": str(mark), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def demo(folder: Path, *, seconds: float, rate: float) -> AbstractContextManager[subprocess.Popen[str]]:
    return running(folder, sys.executable, "-c", KEEPING, str(folder), str(seconds), str(rate))


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """Read lines up to the one that holds `word`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return "".join(lines)
    pytest.fail(f"the demo ended without {word!r}:\n{''.join(lines)}")


def outcome(output: str) -> list[int]:
    match = OUTCOME.search(output)
    assert match, output
    return [int(number) for number in match.groups()]


def report(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*TAILTRACE, "report", "--hours", "1", "--limit", "1000", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "TAILTRACE_STORE": f"sqlite:{folder / 'tailtrace.db'}"},
    )
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def log(trace_id: str, second: int, **changes: Any) -> dict[str, Any]:
    return {
        "timestamp": f"2026-01-05T10:00:{second:02}.000Z",
        "user": "ana@factory.example",
        "device": "ana-laptop",
        "endpoint": "/dashboard/complete",
        "response_time_ms": 10.0,
        "trace_id": trace_id,
        "kind": "user",
        "tags": [],
        **changes,
    }


def rows(table: LiveTable) -> list[tuple[str, ...]]:
    columns = [list(column.cells) for column in table.render().columns]
    return [tuple(str(cell) for cell in cells) for cells in zip(*columns, strict=True)]


def test_the_live_table_counts_a_request_once_though_pages_overlap() -> None:
    table = LiveTable()
    runner = {"user": None, "device": "ci-runner", "kind": "tagged", "tags": ["tag:ci"]}
    visitor = {"user": None, "device": None, "kind": "self"}
    first = [log("b", 2, endpoint="/batches/{batch_id}", response_time_ms=30.0), log("a", 1)]
    table.absorb({"logs": first, "summary": {"total_requests": 2}})
    later = [log("e", 5, **visitor, response_time_ms=None), log("d", 4, **runner), log("c", 3), *first]
    table.absorb({"logs": later, "summary": {"total_requests": 5}})
    assert table.render().title == "5 requests stored"
    assert rows(table) == [
        ("ana@factory.example", "ana-laptop", "3", "/dashboard/complete", "30 ms"),
        ("self", "-", "1", "/dashboard/complete", "-"),
        ("tag:ci", "ci-runner", "1", "/dashboard/complete", "10 ms"),
    ]


def test_a_name_from_a_log_cannot_style_the_terminal() -> None:
    table = LiveTable()
    table.absorb({"logs": [log("a", 1, device="[red]mine[/red]")], "summary": {"total_requests": 1}})
    console = Console(width=120, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table.render())
    assert "[red]mine[/red]" in captured.get()


def test_a_walk_is_the_same_for_the_same_seed() -> None:
    def steps(seed: int) -> list[Step]:
        return list(islice(walk(PEOPLE[0], random.Random(seed)), 50))

    assert steps(7) == steps(7) != steps(8)
    assert steps(7)[:2] == [
        Step("GET", "/dashboard/complete"),
        Step("GET", "/_tailtrace/view?card=prices", card="prices"),
    ]


def test_the_identities_file_names_all_but_the_visitor() -> None:
    document = tomllib.loads(identities_toml(PEOPLE))
    assert document["127.0.0.11"] == {"user": "ana@factory.example", "device": "ana-laptop"}
    assert document["127.0.0.21"] == {"device": "ci-runner", "tags": ["tag:ci"]}
    assert {person.address for person in PEOPLE} - document.keys() == {"127.0.0.99"}


@pytest.mark.long
@pytest.mark.nginx
def test_the_report_tells_what_nginx_and_the_clients_saw(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder, seconds=8, rate=50) as process:
        output, _ = process.communicate(timeout=END_S_MAX)
        assert process.returncode == 0, output
    assert descendants(folder) == []

    text = (folder / "access.log").read_text(encoding="utf-8")
    lines = [dict(zip(TAILTRACE_FIELDS, line.split("\t")[1:], strict=True)) for line in text.splitlines()]
    proxied = sum(line["upstream_addr"] != "" for line in lines)
    sent, written, stored, joined, joinable = outcome(output)
    assert sent >= 8 * 50 * 0.8
    assert (written, stored) == (len(lines), len(lines))
    assert sent == len(lines)
    assert (joined, joinable) == (proxied, proxied)

    answers = report(folder)
    summary = answers["access_logs"]["summary"]
    assert summary["total_requests"] == len(lines)
    # ana, luis, marta and kenji; the visitor and the services are no users.
    assert summary["unique_users"] == 4
    logs = answers["access_logs"]["logs"]
    by_address = {log["ip"]: (log["user"], log["device"], log["kind"]) for log in logs}
    expected = {
        "127.0.0.11": ("ana@factory.example", "ana-laptop", "user"),
        "127.0.0.13": ("luis@factory.example", "luis-desktop", "user"),
        "127.0.0.14": ("marta@factory.example", "marta-tablet", "user"),
        "127.0.0.22": ("", "floor-kiosk", "tagged"),
    }
    assert {
        address: tuple(value or "" for value in by_address[address]) for address in expected if address in by_address
    } == expected

    viewed = [match[1] for line in lines if (match := re.search(r"^/_tailtrace/view\?card=(\w+)", line["request_uri"]))]
    cards = {entry["card"]: entry["views"] for entry in answers["dashboard_usage"]["most_viewed_cards"]}
    assert viewed
    assert cards == {card: viewed.count(card) for card in set(viewed)}

    # Whoever runs the report here knows no OpenAPI file: the names are the store's.
    features = {name for entry in answers["dashboard_usage"]["user_sessions"] for name in entry["favorite_features"]}
    assert {"Dashboard", "Batch"} <= features

    times = answers["system_health_history"]["api_response_times"]
    slowest = max(times, key=lambda entry: entry["app"]["p95_ms"] or 0)
    assert slowest["endpoint"] == "/predict/prices/weekly"
    assert 450 <= slowest["app"]["p95_ms"] < 2000
    # Four apps behind one nginx; those of the neighbours all have a page at `/`.
    assert {entry["service"] for entry in times} == {"factory.example", *NEIGHBOURS}
    roots = {entry["service"]: entry["count"] for entry in times if entry["endpoint"] == "/"}
    assert roots == Counter(line["server_name"] for line in lines if line["request_uri"] == "/")
    failed = sum(line["status"].startswith("5") for line in lines)
    assert failed > 0
    assert answers["system_health_history"]["error_rate"]["overall"]["errors_5xx"] == failed


@pytest.mark.long
@pytest.mark.nginx
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_report_and_nothing_left_running(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    with demo(folder, seconds=50, rate=40) as process:
        read_until(process, "requests a second")
        time.sleep(1.5)
        # The demo, weather, app, `tailtrace serve`, nginx's master and worker: the search does find them.
        assert len(descendants(folder)) >= 6
        process.send_signal(number)
        output, _ = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 0, output
    assert "ending: awaits the last lines" in output
    _, written, stored, joined, joinable = outcome(output)
    assert written == stored > 0
    assert joined == joinable
    assert descendants(folder) == []


@pytest.mark.long
@pytest.mark.nginx
def test_a_second_ctrl_c_ends_it_without_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder, seconds=50, rate=40) as process:
        read_until(process, "requests a second")
        process.send_signal(signal.SIGINT)
        read_until(process, "Ctrl-C again ends at once")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 1, output
    assert "stopped before the report; nothing is left running" in output
    assert descendants(folder) == []


@pytest.mark.long
@pytest.mark.nginx
def test_a_child_that_dies_ends_it_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder, seconds=50, rate=10) as process:
        read_until(process, "requests a second")
        (app,) = (
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if b"tailtrace_api.demo.app" in path.read_bytes()
            and os.fsencode(folder) in (path.parent / "environ").read_bytes()
        )
        os.kill(app, signal.SIGKILL)
        output, _ = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 1, output
    assert "demo: app ended with status -9; the end of " in output
    assert descendants(folder) == []


@pytest.mark.long
@pytest.mark.nginx
def test_a_taken_port_is_said_and_another_one_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        command = (*TAILTRACE, "demo", "--seconds", "2", "--rate", "10", "--port", str(taken))
        with running(tmp_path, *command) as process:
            output, _ = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 0, output
    said = re.search(rf"port {taken} is taken \(Address already in use\); using (\d+)", output)
    assert said, output
    assert f"http://127.0.0.1:{said[1]}/dashboard/complete" in output
    _, written, stored, _, _ = outcome(output)
    assert written == stored > 0
    assert descendants(tmp_path) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("")
    with demo(tmp_path, seconds=1, rate=10) as process:
        output, _ = process.communicate(timeout=END_S_MAX)
    assert process.returncode == 1, output
    assert "is not empty; name a new folder" in output.replace("\n", " ")


def test_without_docker_it_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TAILTRACE, "demo", "--docker"], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert done.stdout == "demo: demo --docker: there is no `docker` here: https://docs.docker.com/engine/install/\n"


@pytest.mark.long
@pytest.mark.nginx
def test_a_newcomer_sees_a_past_a_waterfall_and_what_broke_within_a_minute(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder, seconds=20, rate=40) as process:
        output, _ = process.communicate(timeout=END_S_MAX)
        assert process.returncode == 0, output

    def told(*command: str) -> Any:
        done = subprocess.run(
            [*TAILTRACE, *command, "--json"], capture_output=True, text=True, check=True, cwd=folder,
            env={**os.environ, "TAILTRACE_STORE": f"sqlite:{folder / 'tailtrace.db'}"},
        )  # fmt: skip
        return json.loads(done.stdout)

    url, trace_id = re.search(r"a request that broke +(http\S+)\?request=([0-9a-f]{32})\n", output).groups()  # type: ignore[union-attr]
    assert f"{url}mcp\n" in output
    store = f"--store sqlite:{folder / 'tailtrace.db'}"
    assert f"tailtrace report {store}\n" in output
    assert f"tailtrace trace {trace_id} {store}\n" in output
    typed = re.search(r"in the terminal +(\S*tailtrace trace .*)\n", output)[1]  # type: ignore[index]
    assert subprocess.run(["bash", "-c", typed], capture_output=True, check=False).returncode == 0, typed
    assert told("trace", trace_id)["spans"]
    past = told("report", "--days", "15", "--limit", "1")["access_logs"]["summary"]["total_requests"]
    lines = (folder / "access.log").read_text(encoding="utf-8").count("\n")
    assert past > lines + 1000, "the page has a past from its first second"

    broken = told("errors")
    (weather,) = [one for one in broken["groups"] if one["type"] == "httpx.HTTPStatusError"]
    assert weather["frames"][-1] == "demo/climate.py temperature_c"
    assert [one["name"] for one in weather["versions"]] == ["1.0"]
    assert {(one["service"], one["text"]) for one in broken["markers"]} == {
        ("chocolate-factory", "1.0"),
        ("weather", "2.3"),
    }
    trace = told("trace", next(one["trace_id"] for one in weather["traces"] if one["kept"]))
    assert [(one["service"], one["name"]) for one in trace["spans"]] == [
        ("nginx", "GET /analysis/siar-summary"),
        ("nginx", "GET"),
        ("chocolate-factory", "GET /analysis/siar-summary"),
        ("chocolate-factory", "SELECT reading"),
        ("chocolate-factory", "GET"),
        ("weather", "GET /stations/{station}"),
    ]
    assert trace["requests"][0]["phases"]
