"""The stack as containers: it comes up by the docs' own commands, and after whatever befalls a part of it.

In the order in which they stand: all share one stack, and what breaks more stands lower.
"""

import json
import random
import re
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.docker]

UP_S_MAX = 60
"""From images that are there to all healthy."""
HEAL_S_MAX = 300
ROUNDS = [0, *(pytest.param(turn, marks=pytest.mark.slow) for turn in range(1, 10))]
"""Orders and moments that chance finds: CI tries the first."""
FELLOWS = ("nginx", "app", "collector", "collector-health", "influxdb", "bridge", "api", "visitor")
"""Everything but `net`, which is another case."""


def test_a_request_becomes_a_row_and_spans(stack: Any) -> None:
    traffic = stack.traffic(10)
    traffic.send(30)
    traffic.assert_stored()
    logs = stack.get("/analytics/access-logs?hours=1&limit=1000")["logs"]
    mine = [row for row in logs if row["path"] == next(iter(traffic.answered))]
    assert [(row["device"], row["endpoint"], row["service"], row["status"]) for row in mine] == [
        ("docker-host", "/batches/{batch_id}", "chocolate-factory", 404)
    ]
    assert any(row["device"] == "first-look" for row in logs), "the visitor"
    assert mine[0]["app_time_ms"] is not None, "what the app said came home"
    trace = f"SELECT count(duration_nano) FROM spans WHERE trace_id = '{mine[0]['trace_id']}'"
    stack.wait_for(lambda: stack.influx("traces", trace), HEAL_S_MAX, "the raw span")


def test_what_the_page_names_is_there(stack: Any) -> None:
    page = stack.get("/")
    for link in re.findall(r'(?:href|src)="(/[^"]*)"', page):
        assert stack.get(link), link
    assert "tailtrace_lines_total" in stack.get("/metrics")
    assert stack.get("/analytics/dashboard-usage") is not None


def test_people_of_the_network_get_no_api(stack: Any) -> None:
    """nginx tells the host from anybody else by the gateway's address."""
    asked = stack.compose("exec", "-T", "app", "python", "-c", ASK.format("http://127.0.0.1:8480/health"), check=False)
    assert "403" in asked.stdout + asked.stderr
    assert stack.get("/health") == {"status": "ok"}


ASK = "import urllib.request as r; print(r.urlopen('{}', timeout=5).status)"


def test_the_app_is_reached_by_ipv6(stack: Any) -> None:
    asked = stack.compose("exec", "-T", "app", "python", "-c", ASK.format("http://[::1]/dashboard/complete"))
    assert asked.stdout.strip() == "200"


def test_the_image_is_built_once(stack: Any) -> None:
    config = json.loads(stack.compose("config", "--format", "json").stdout)
    assert [name for name, service in config["services"].items() if "build" in service] == ["init"]


def test_rotation_loses_nothing_and_outlives_nginx(stack: Any) -> None:
    stack.set(ROTATE_BYTES="20000", ROTATE_KEEP="50")
    stack.compose("up", "--wait", "nginx")
    traffic = stack.traffic(11)

    def rotated() -> int:
        return len(stack.compose("exec", "-T", "nginx", "ls", "/var/log/nginx").stdout.split()) - 1

    traffic.send(150)
    before = stack.wait_for(rotated, HEAL_S_MAX, "a rotation")
    stack.crash("nginx")
    stack.wait_for(stack.is_whole, HEAL_S_MAX, "nginx is back")
    traffic.send(300)
    stack.wait_for(lambda: rotated() > before, HEAL_S_MAX, "a rotation after a crash")
    traffic.assert_stored()
    stack.set(ROTATE_BYTES="104857600", ROTATE_KEEP="10")
    stack.compose("up", "--wait", "nginx")


@pytest.mark.parametrize("name", FELLOWS)
def test_a_part_that_crashes_comes_back_by_itself(stack: Any, name: str) -> None:
    traffic = stack.traffic(20 + FELLOWS.index(name))
    with traffic.flowing():
        time.sleep(1)
        died_s = stack.crash(name)
        stack.wait_for(lambda: stack.is_whole() and stack.get("/ready"), HEAL_S_MAX, f"after {name} died")
        time.sleep(1)
    traffic.assert_stored(nginx_died_s=died_s if name == "nginx" else None)


@pytest.mark.parametrize("name", ["influxdb", "bridge", "collector"])
def test_a_part_that_hangs_costs_nothing(stack: Any, name: str) -> None:
    traffic = stack.traffic(30 + FELLOWS.index(name))
    stack.compose("pause", name)
    with traffic.flowing():
        time.sleep(8)
    stack.compose("unpause", name)
    traffic.assert_stored()
    stack.wait_for(stack.is_whole, HEAL_S_MAX)


def test_when_the_network_dies_the_stack_is_healed(stack: Any) -> None:
    traffic = stack.traffic(40)
    with traffic.flowing():
        stack.crash("net")
        stack.wait_for(lambda: stack.containers()["net"]["State"]["Running"], HEAL_S_MAX)
        assert "net" in stack.heal()
        time.sleep(1)
    stack.wait_for(stack.is_whole, HEAL_S_MAX)
    assert stack.heal() == "", "what runs is left alone"
    traffic.assert_stored()


def test_when_the_token_is_another_file_its_readers_are_started_again(stack: Any) -> None:
    file = stack.folder / "secrets" / "influxdb_token"
    token = file.read_text(encoding="utf-8")
    began = {name: shown["State"]["StartedAt"] for name, shown in stack.containers().items()}
    file.unlink()
    file.write_text(token, encoding="utf-8")
    file.chmod(0o644)
    time.sleep(1)
    assert "influxdb_token" in stack.heal()
    anew = {name for name, shown in stack.containers().items() if shown["State"]["StartedAt"] != began[name]}
    assert anew - {"init"} == {"collector", "bridge", "api"}, "init runs at each `up`"
    assert stack.heal() == "", "once is enough"
    traffic = stack.traffic(43)
    traffic.send(30)
    traffic.assert_stored()


@pytest.mark.parametrize("turn", ROUNDS)
def test_when_all_die_in_any_order_the_stack_is_healed(stack: Any, turn: int) -> None:
    order = [*FELLOWS, "net"]
    random.Random(turn).shuffle(order)  # an order, no secret
    traffic = stack.traffic(80 + turn)
    traffic.send(30)
    traffic.assert_stored()
    stack.crash(*order, pause_s=0.5)
    stack.heal()
    stack.wait_for(stack.is_whole, HEAL_S_MAX, f"after all died: {order}")
    traffic.send(30)
    traffic.assert_stored()


@pytest.mark.parametrize("turn", ROUNDS)
def test_when_the_engine_starts_anew_the_stack_is_healed(stack: Any, engine: Any, turn: int) -> None:
    traffic = stack.traffic(60 + turn)
    traffic.send(30)
    engine.stop()
    engine.start()
    stack.heal()
    stack.wait_for(stack.is_whole, HEAL_S_MAX)
    traffic.send(30)
    traffic.assert_stored()


def test_down_and_up_keep_everything(stack: Any) -> None:
    traffic = stack.traffic(50)
    traffic.send(50)
    traffic.assert_stored()
    rows = stack.get("/analytics/access-logs?hours=24&limit=1")["summary"]["total_requests"]
    stack.compose("down")
    stack.be_quick(False)
    began_s = time.monotonic()
    stack.compose("up", "--wait")
    took_s = time.monotonic() - began_s
    assert took_s <= UP_S_MAX
    stack.be_quick()
    traffic.assert_stored()
    assert stack.get("/analytics/access-logs?hours=24&limit=1")["summary"]["total_requests"] >= rows
    traffic.send(20)
    traffic.assert_stored()


@pytest.mark.slow
def test_up_says_when_the_collector_crashes_at_its_start(stack: Any) -> None:
    config = stack.folder / "otel-collector.yaml"
    good = config.read_text(encoding="utf-8")
    config.write_text(good.replace("processors:", "processorz:", 1), encoding="utf-8")
    try:
        stack.compose("down")
        done = stack.compose("up", "--wait", check=False)
        assert done.returncode != 0
        assert "collector" in done.stderr
    finally:
        config.write_text(good, encoding="utf-8")
    stack.compose("up", "--detach", "--force-recreate", "collector", "collector-health")
    stack.compose("up", "--wait")


def test_nobody_ran_out_of_memory(stack: Any) -> None:
    killed = {name: shown["State"]["OOMKilled"] for name, shown in stack.containers().items()}
    assert not any(killed.values()), killed
