"""docker-compose.yml, the Dockerfile and deploy/ hold together, as far as can be said without starting a container.

`tests/docker` starts them, where there is an engine. Here is what needs none: the file against the Compose
specification, every name against the place that defines it, every hardening that we promise, nginx's configuration by
nginx itself, the rotation with a real nginx, the Dockerfile by hadolint.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from tests.processes import free_ports

from tailtrace_bridge.logs.format import TAILTRACE_FIELDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")
OURS = {"init", "app", "bridge", "api"}
# What holds no shell, or runs once, or is nobody's server.
WITHOUT_HEALTH = {"net", "init", "collector", "visitor"}
CAPABILITIES = {"init": ["CHOWN"], "tailscale": ["NET_ADMIN", "NET_RAW"]}
# `${…}` in nothing but these is Compose's; `$` in a command would have to be `$$`.
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def interpolated(text: str) -> str:
    """What Compose reads when no variable is set."""
    return VARIABLE.sub(lambda match: match["default"] or "", text)


STACK: dict[str, Any] = yaml.safe_load(interpolated(TEXT))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def problems_of(stack: dict[str, Any]) -> str:
    """What the Compose specification says against it; empty: nothing."""
    try:
        PyCompose.from_json(json.dumps(stack)).validate()
    except ValueError as error:
        return str(error)
    return ""


def mounts(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Source, target, mode of each volume."""
    return [(*mount.split(":"), "rw")[:3] for mount in service.get("volumes", [])]


def test_it_is_compose() -> None:
    assert problems_of(STACK) == ""


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"imagee": "x:1"}, "imagee"),
        ({"image": "x:1", "mem_limit": "2q"}, "unknown unit"),
        ({"image": "x:1", "depends_on": {"b": {"condition": "nope"}}}, "nope"),
        ({"image": "x:1", "ports": ["abc"]}, "abc"),
        ({"image": "x:1", "secrets": ["nosuch"]}, "nosuch"),
    ],
)
def test_what_is_not_compose_is_seen(service: dict[str, Any], says: str) -> None:
    assert says in problems_of({"services": {"a": service}})


def test_every_variable_is_in_the_example_with_the_default_it_has() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    used = {match["name"]: match["default"] for match in VARIABLE.finditer(TEXT)}
    # COMPOSE_PROFILES is read by Compose itself.
    assert example.pop("COMPOSE_PROFILES") in {profile for s in SERVICES.values() for profile in s.get("profiles", [])}
    assert used == example


@each_service
def test_what_is_mounted_exists(name: str) -> None:
    for source, target, mode in mounts(SERVICES[name]):
        if source.startswith("./"):
            assert (ROOT / source).is_file(), f"{source}: docker would make a folder of it"
            assert mode == "ro"
        else:
            assert source in STACK["volumes"]
        assert target.startswith("/")


def test_every_volume_network_and_secret_is_used() -> None:
    used = {source for service in SERVICES.values() for source, _, _ in mounts(service) if not source.startswith("./")}
    assert used == STACK["volumes"].keys()
    assert {network for s in SERVICES.values() for network in s.get("networks", [])} == STACK["networks"].keys()
    assert {secret for s in SERVICES.values() for secret in s.get("secrets", [])} == STACK["secrets"].keys()


def test_secrets_are_files_that_git_and_the_image_never_see() -> None:
    assert {secret["file"].rpartition("/")[0] for secret in STACK["secrets"].values()} == {"./secrets"}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/secrets/", "/.env"} <= set(ignored)
    first, *let_in = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] in "*!"
    ]
    assert first == "*"
    assert "!secrets" not in let_in


@each_service
def test_paths_of_secrets_are_of_secrets_that_the_service_has(name: str) -> None:
    values = [str(value) for value in SERVICES[name].get("environment", {}).values()]
    named = {Path(value).name for value in values if "/run/secrets/" in value}
    assert named == set(SERVICES[name].get("secrets", []))


@each_service
def test_who_is_waited_for_can_be_waited_for(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        elif name == "collector-health":
            assert (other, wait["condition"]) == ("collector", "service_started")
        else:
            assert (other, wait["condition"]) == ("init", "service_completed_successfully")
        if "profiles" in SERVICES[other]:
            assert wait["required"] is False, "without this the other profile would not start"


@pytest.mark.parametrize(
    ("image", "pinned"),
    [("nginx", False), ("nginx:latest", False), ("nginx:1", False), ("nginx:1.30.6-alpine", True), ("a/b:v1.2", True)],
)
def test_what_counts_as_pinned(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned


def is_pinned(image: str) -> bool:
    return re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z][a-z-]*)?$", image) is not None


@each_service
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert is_pinned(service["image"])
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == CAPABILITIES.get(name, [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "tailscale")
    assert service["mem_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert ("healthcheck" in service and "test" in service["healthcheck"]) is (name not in WITHOUT_HEALTH)
    assert "privileged" not in service
    assert service["restart"] == ("no" if name == "init" else "unless-stopped")


@each_service
def test_who_is_root(name: str) -> None:
    user = SERVICES[name].get("user")
    if name in OURS - {"init"}:  # of the Dockerfile
        assert user is None
        return
    if name in {"net", "tailscale"}:  # `pause` has a user of its own; tailscaled sets routes
        assert user is None
        return
    assert (user == "0:0") is (name == "init")


def test_the_demo_changes_nothing_but_what_it_shows() -> None:
    """deploy/demo.yml stands beside docker-compose.yml; Compose puts the two together."""
    demo = yaml.safe_load(re.sub(r"\$\{DEMO:\?\}", "/demo", (DEPLOY / "demo.yml").read_text(encoding="utf-8")))
    added = {name: service["extends"] for name, service in demo["services"].items() if name not in SERVICES}
    assert added == {name: {"file": "docker-compose.yml", "service": "app"} for name in ("weather", "people")}
    keys = {key for name, service in demo["services"].items() if name in SERVICES for key in service}
    assert keys == {"command", "environment", "volumes"}, "the hardening stays"
    targets = {target for name in ("nginx", "bridge") for _, target, _ in mounts(demo["services"][name])}
    assert targets == {"/etc/nginx/apps/neighbours.conf", "/etc/tailtrace/identities.toml"}
    assert "include /etc/nginx/apps/*.conf;" in (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert set(demo["secrets"]) <= STACK["secrets"].keys()


def test_only_the_host_reaches_a_port() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"net": ["127.0.0.1:8080:80", "127.0.0.1:8470:8480"]}
    assert STACK["networks"]["store"]["internal"] is True


@each_service
def test_one_network_for_all_but_the_store(name: str) -> None:
    service = SERVICES[name]
    if name == "net":
        assert set(service["networks"]) == {"edge", "store"}
    elif name == "influxdb":
        assert service["networks"] == ["store"]
    else:
        assert service["network_mode"] == ("none" if name == "init" else "service:net")


def test_in_the_one_network_no_two_listen_on_the_same_port() -> None:
    environments = [service.get("environment", {}) for service in SERVICES.values()]
    listens = [str(v) for e in environments for k, v in e.items() if k.endswith(("_LISTEN", "_LOCAL_ADDR_PORT"))]
    assert len(listens) == 7
    assert all(listen.startswith("127.0.0.1:") for listen in listens)
    nginx = re.findall(r"listen (?:127\.0\.0\.1:)?(\d+);", (DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
    app = SERVICES["app"]["command"][1]
    metrics = "8888"  # the collector's default
    ports = [*(listen.rpartition(":")[2] for listen in listens), *nginx, app, metrics]
    assert len(set(ports)) == len(ports)


def test_who_sends_sends_to_who_listens() -> None:
    bridge, collector, api = (SERVICES[name]["environment"] for name in ("bridge", "collector", "api"))
    nginx = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert (
        SERVICES["app"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{collector['COLLECTOR_HTTP_LISTEN']}"
    )
    assert collector["COLLECTOR_BRIDGE_URL"] == f"http://{bridge['TAILTRACE_OTLP_LISTEN']}"
    assert f"proxy_pass http://127.0.0.1:{SERVICES['app']['command'][1]};" in nginx
    assert f"proxy_pass http://{api['TAILTRACE_LISTEN']};" in nginx
    for name, address in (("bridge", bridge["TAILTRACE_BRIDGE_LISTEN"]), ("api", api["TAILTRACE_LISTEN"])):
        assert f"http://{address}/ready" in SERVICES[name]["healthcheck"]["test"][-1]
    assert f"http://{SERVICES['tailscale']['environment']['TS_LOCAL_ADDR_PORT']}/healthz" in str(SERVICES["tailscale"])
    for environment in (bridge, collector, api):
        assert environment["INFLUXDB_V2_URL"] == "http://influxdb:8086"
    gateway = STACK["networks"]["edge"]["ipam"]["config"][0]["gateway"]
    assert re.findall(r"^ +allow (.+);$", nginx, re.MULTILINE) == [gateway]
    named = tomllib.loads((DEPLOY / "identities.toml").read_text(encoding="utf-8"))
    assert named == {gateway: {"device": "docker-host"}, "127.0.0.1": {"device": "first-look"}}


@pytest.mark.parametrize("name", ["bridge", "api"])
def test_settings_are_taken_by_tailtrace(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tailtrace_bridge.settings import table as settings

    monkeypatch.chdir(tmp_path)
    environment = SERVICES[name]["environment"]
    known = {settings.environment_name(field) for field in settings.Settings.model_fields}
    assert environment.keys() - known == set()
    for key in [key for key in os.environ if key in known]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, str(value))
    loaded = settings.load()
    assert (loaded.store, loaded.influxdb_v2_url) == ("influxdb", "http://influxdb:8086")
    assert {target for _, target, _ in mounts(SERVICES[name])} >= {str(loaded.openapi.parent)}
    if name == "bridge":
        targets = {target: mode for _, target, mode in mounts(SERVICES[name])}
        assert targets[str(Path(loaded.log).parent)] == "ro"
        assert targets[str(loaded.checkpoint.parent)] == "rw"
        assert targets[str(loaded.tailscale_socket.parent)] == "ro"
        assert targets[str(loaded.identities)] == "ro"


def test_collector_settings_are_those_of_its_file() -> None:
    config = (ROOT / "otel-collector.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r"\$\{env:(\w+)", config))
    assert SERVICES["collector"]["environment"].keys() - known == {"GOMEMLIMIT"}
    assert (
        SERVICES["collector"]["environment"]["COLLECTOR_TRACES_RETENTION"]
        == (SERVICES["influxdb"]["environment"]["TRACES_RETENTION"])
    )
    for name in ("bridge", "api"):
        assert (
            SERVICES[name]["environment"]["TAILTRACE_TRACES_BUCKET"]
            == (SERVICES["collector"]["environment"]["COLLECTOR_TRACES_BUCKET"])
        ), "`erase` looks there"
    limit = int(SERVICES["collector"]["environment"]["COLLECTOR_MEMORY_MIB"])
    assert SERVICES["collector"]["environment"]["GOMEMLIMIT"] == f"{limit * 4 // 5 + 1}MiB"
    assert ("collector-queue", "/var/lib/otelcol", "rw") in mounts(SERVICES["collector"])


def test_commands_of_ours_exist() -> None:
    import typer.main

    from tailtrace_api.commands.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {SERVICES[name]["command"][0] for name in ("bridge", "api")} <= commands.keys()
    assert SERVICES["app"]["entrypoint"] == ["python", "-m", "tailtrace_api.demo.app"]
    script = SERVICES["init"]["command"][0].splitlines()
    words = script[0].split()
    assert words == ["tailtrace", "nginx", "/etc/nginx/tailtrace", "--log", "/var/log/nginx/tailtrace.log"]
    targets = {target for _, target, _ in mounts(SERVICES["init"])}
    assert script[1].endswith(">/etc/nginx/tailtrace/name.conf")
    owned = {path for line in script[2:] for path in line.split()[2:]}
    assert owned == targets - {"/etc/nginx/tailtrace"}


def test_volumes_belong_to_who_writes_them() -> None:
    script = SERVICES["init"]["command"][0].splitlines()[2:]
    owners = {path: line.split()[1] for line in script for path in line.split()[2:]}
    for name, service in SERVICES.items():
        if name in {"init", "tailscale"}:
            continue
        for source, target, mode in mounts(service):
            if mode == "rw":
                assert owners[target] == service.get("user", "10002:10002"), f"{name} writes {source}"
    assert "USER 10002:10002" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def hadolint(dockerfile: str) -> str:
    done = subprocess.run(
        ["hadolint", "--no-color", "-"],
        input=dockerfile,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return done.stdout + done.stderr


def test_the_dockerfile_is_good() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert hadolint(text) == ""
    assert "DL3006" in hadolint(text.replace(":3.13-slim-trixie", "", 1)), "hadolint looks at nothing"
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    assert all(is_pinned(image) for image in set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - set(stages))
    assert SERVICES["init"]["build"]["target"] in stages
    assert {SERVICES[name]["pull_policy"] for name in OURS} == {"never"}, "it is in no registry"
    assert {"plain", "pdf"} <= set(stages)
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = [word for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all(any(path == root or path.startswith(f"{root}/") for root in let_in) for path in copied)
    assert all(any(path == root or path.startswith(f"{root}/") for path in copied) for root in let_in)
    assert all((ROOT / path).exists() for path in copied)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"].keys() <= set(copied), "the image's wheel could not be made"


def test_what_the_image_runs_may_be_run() -> None:
    """The entrypoint of InfluxDB's image passes over what is not executable, without a word."""
    for source, target, _ in mounts(SERVICES["influxdb"]):
        if target.startswith("/docker-entrypoint-initdb.d/"):
            mode = subprocess.run(
                ["git", "ls-files", "--stage", source], cwd=ROOT, capture_output=True, text=True, check=True
            )
            assert mode.stdout.startswith("100755 "), source
            assert os.access(ROOT / source, os.X_OK)


@pytest.mark.parametrize("listen", ["127.0.0.1:{}", "0.0.0.0:{}", "[::]:{}"])
def test_the_image_is_healthy_where_it_listens(tmp_path: Path, listen: str) -> None:
    """The Dockerfile's own check, against `serve` started as docs/deployment.md has it for one container."""
    (line,) = re.findall(r"^    CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    _, *check = json.loads(line)
    (tmp_path / "tailtrace.log").touch()
    port, otlp = free_ports(2)  # at once, or one may come twice
    environment = {
        "PATH": os.environ["PATH"],
        "TAILTRACE_LOG": str(tmp_path / "tailtrace.log"),
        "TAILTRACE_LISTEN": listen.format(port),
        "TAILTRACE_ACCESS": "token",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{otlp}",
        "TAILSCALE_SOCKET": str(tmp_path / "none.sock"),
    }

    def is_healthy() -> bool:
        asked = subprocess.run([sys.executable, *check], env=environment, capture_output=True, check=False)
        return asked.returncode == 0

    cli = [sys.executable, "-m", "tailtrace_api.commands.cli"]
    subprocess.run([*cli, "token", "create", "me", "--role", "admin"], cwd=tmp_path, env=environment, check=True)
    assert not is_healthy()
    serve = subprocess.Popen([*cli, "serve"], cwd=tmp_path, env=environment)
    try:
        wait_for(is_healthy, 30)
    finally:
        serve.terminate()
        serve.wait(20)


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_of_a_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


@contextmanager
def running_nginx(
    folder: Path, rotation: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """deploy/nginx.conf by deploy/nginx.sh, with its folders in `folder` and other ports: by the ports it has."""
    from tailtrace_api.nginx.include_files import write_files
    from tailtrace_api.nginx.process import find_nginx

    write_files(folder / "include", log=folder / "tailtrace.log")
    (folder / "include" / "name.conf").write_text('server_name "chocolate-factory";\n', encoding="utf-8")
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    ports = dict(zip(("80", "8480", "8481", "8000", "8470", "8471"), free_ports(6), strict=True))
    text = text.replace("listen [::]:80;", "")
    text = re.sub(r"listen (?:127\.0\.0\.1:)?(\d+);", lambda m: f"listen 127.0.0.1:{ports[m[1]]};", text)
    text = re.sub(r"http://127\.0\.0\.1:(\d+);", lambda m: f"http://127.0.0.1:{ports[m[1]]};", text)
    places = {
        "/etc/nginx/tailtrace/": f"{folder}/include/",
        "/etc/nginx/apps/": f"{folder}/apps/",
        " /tmp/": f" {folder}/",
    }
    text = re.sub("|".join(places), lambda match: places[match[0]], text)
    if os.geteuid() == 0:
        text = "user root;\n" + text
    config = folder / "nginx.conf"
    config.write_text(text, encoding="utf-8")
    with (folder / "stderr.log").open("wb") as said:
        process = subprocess.Popen(
            ["sh", DEPLOY / "nginx.sh", find_nginx(), "-p", folder, "-c", config, "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
            env={**os.environ, "ROTATE_LOG": str(folder / "tailtrace.log"), **(rotation or {})},
        )
    try:
        wait_for(lambda: process.poll() is not None or (folder / "nginx.pid").exists())
        assert process.poll() is None, (folder / "stderr.log").read_text(encoding="utf-8")
        yield process, ports
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(look: Any, within_s: float = 10) -> None:
    end = monotonic() + within_s
    while not look():
        assert monotonic() < end, f"not within {within_s} s"
        sleep(0.02)


def status(port: int, path: str = "/") -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def fields_of(log: Path) -> list[dict[str, str]]:
    lines = log.read_text(encoding="utf-8").splitlines()
    return [dict(zip(TAILTRACE_FIELDS, line.split("\t")[1:], strict=True)) for line in lines]


@pytest.mark.nginx
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    with running_nginx(tmp_path) as (_, ports):
        assert status(ports["8481"]) == 204
        assert status(ports["80"], "/anything") == 502, "no app here: nginx answers, and writes the line all the same"
        assert status(ports["80"], "/_tailtrace/view?card=prices") == 204
        assert status(ports["8480"]) == 403, "we are not the gateway of the network `edge`"
        log = tmp_path / "tailtrace.log"
        end_s = time.monotonic() + 5  # nginx holds its lines for a moment
        while log.read_bytes().count(b"\n") < 2 and time.monotonic() < end_s:
            time.sleep(0.05)
        # Each worker holds its own lines: they come in any order.
        assert sorted(one["status"] for one in fields_of(log)) == ["204", "502"], "only the app's server is counted"


@pytest.mark.nginx
def test_rotation_by_size_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "tailtrace.log"
    requests = 0
    environment = {"ROTATE_LOG": str(log), "ROTATE_BYTES": "40000", "ROTATE_KEEP": "50", "ROTATE_EVERY_S": "0.05"}
    with running_nginx(tmp_path, environment) as (nginx, ports):
        while requests < 20_000 and not (tmp_path / "tailtrace.log.3.gz").exists():
            # 429: more views than one address may have; a line all the same.
            assert status(ports["80"], f"/_tailtrace/view?card={requests}") in {204, 429}
            requests += 1
        # As Docker stops a container: nginx writes what it holds, and its status is the script's.
        nginx.terminate()
        assert nginx.wait(10) == 0
    assert (tmp_path / "tailtrace.log.3.gz").exists(), f"{requests} requests, and no three rotations"
    for packed in tmp_path.glob("tailtrace.log.*.gz"):
        subprocess.run([shutil.which("gzip") or "gzip", "-d", packed], check=True)
    lines = [fields for path in tmp_path.glob("tailtrace.log*") for fields in fields_of(path)]
    cards = sorted(int(re.findall(r"card=(\d+)", fields["request_uri"])[0]) for fields in lines)
    assert cards == list(range(requests))


def test_rotation_keeps_so_many(tmp_path: Path) -> None:
    log, ready = tmp_path / "log" / "tailtrace.log", tmp_path / "ready"
    log.parent.mkdir()
    environment = {"ROTATE_LOG": str(log), "ROTATE_BYTES": "5", "ROTATE_KEEP": "3", "ROTATE_EVERY_S": "0.02"}
    reader = ["sh", "-c", f"trap '' USR1; touch {ready}; sleep 60 & wait"]
    rotation = subprocess.Popen(
        ["sh", DEPLOY / "nginx.sh", *reader], env={"PATH": os.environ["PATH"], **environment}, start_new_session=True
    )
    try:
        wait_for(ready.exists)
        for number in range(5):
            log.write_text(f"line {number}\n", encoding="utf-8")
            wait_for(lambda: not log.exists())
        sleep(0.1)  # for what stands behind `mv`
    finally:
        os.killpg(rotation.pid, signal.SIGKILL)
        rotation.wait(10)
    assert sorted(path.name for path in log.parent.iterdir()) == [
        "tailtrace.log.1",
        "tailtrace.log.2.gz",
        "tailtrace.log.3.gz",
    ]
    assert (log.parent / "tailtrace.log.1").read_text(encoding="utf-8") == "line 4\n"


def test_the_container_ends_with_nginx() -> None:
    """Then Docker starts both again; a rotation that goes on alone would hide that nginx died."""
    done = subprocess.run(["sh", DEPLOY / "nginx.sh", "sh", "-c", "sleep 0.1; exit 7"], check=False, timeout=5)
    assert done.returncode == 7


@pytest.mark.collector
def test_the_collector_takes_the_example_of_the_docs(tmp_path: Path, otelcol_program: Path) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    config = tmp_path / "collector.yaml"
    for text, good in ((example, True), (example.replace("routing_key", "routing_kee"), False)):
        config.write_text(text, encoding="utf-8")
        command = [otelcol_program, "validate", f"--config={config}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode == 0) is good, done.stderr
