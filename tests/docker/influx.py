#!/usr/bin/python3
"""Stands in for two parts of InfluxDB's image: the client `influx`, of which the stack needs little, and the entrypoint.

| called as | does |
|---|---|
| `influx ping` | asks `/ping` |
| `influx bucket create --name N --retention 72h --org O` | makes a bucket |
| `entrypoint.py influxd …` | at the first start: sets up on port 9999, runs the executable `*.sh` of `/docker-entrypoint-initdb.d`; then becomes influxd |

What the image does when a step fails is done too: the files are deleted, and the container ends.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

DATA = Path("/var/lib/influxdb2")
BOLT, ENGINE = DATA / "influxd.bolt", DATA / "engine"
CONFIG = Path("/etc/influxdb2/tests.json")
SCRIPTS = "/docker-entrypoint-initdb.d"
SET_UP_PORT = 9999
START_S_MAX = 60
UNITS_S = {"h": 3600, "m": 60, "s": 1}


def host() -> str:
    return os.environ.get("INFLUX_HOST", "http://127.0.0.1:8086")


def call(method: str, path: str, body: object = None) -> dict:
    token = json.loads(CONFIG.read_text())["token"] if CONFIG.exists() else ""
    request = urllib.request.Request(host() + path, method=method, data=json.dumps(body).encode() if body else None)
    if token:
        request.add_header("Authorization", f"Token {token}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read() or b"{}")


def option(name: str) -> str:
    return sys.argv[sys.argv.index(f"--{name}") + 1]


def make_bucket() -> None:
    (org,) = call("GET", f"/api/v2/orgs?org={option('org')}")["orgs"]
    kept = option("retention")
    rules = [{"type": "expire", "everySeconds": int(kept[:-1]) * UNITS_S[kept[-1]]}]
    call("POST", "/api/v2/buckets", {"orgID": org["id"], "name": option("name"), "retentionRules": rules})


def initial(name: str) -> str:
    """A variable of the image's, or the content of the file that `…_FILE` names."""
    name = f"DOCKER_INFLUXDB_INIT_{name}"
    return os.environ.get(name) or Path(os.environ[f"{name}_FILE"]).read_text().strip()


def set_up(program: list[str]) -> None:
    os.environ["INFLUX_HOST"] = f"http://127.0.0.1:{SET_UP_PORT}"
    server = subprocess.Popen([*program, f"--http-bind-address=:{SET_UP_PORT}"])
    try:
        end_s = time.monotonic() + START_S_MAX
        while True:
            try:
                call("GET", "/health")
                break
            except OSError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.2)
        names = {name.lower(): initial(name) for name in ("USERNAME", "PASSWORD", "ORG", "BUCKET")}
        call("POST", "/api/v2/setup", {**names, "token": initial("ADMIN_TOKEN")})
        CONFIG.write_text(json.dumps({"token": initial("ADMIN_TOKEN")}))
        if Path(SCRIPTS).is_dir():
            command = ["run-parts", "--regex", ".*sh$", "--report", "--exit-on-error", SCRIPTS]
            subprocess.run(command, check=True)
    except BaseException:
        BOLT.unlink(missing_ok=True)
        shutil.rmtree(ENGINE, ignore_errors=True)
        raise
    finally:
        server.terminate()
        server.wait(30)


def start() -> None:
    program = [*sys.argv[1:], f"--bolt-path={BOLT}", f"--engine-path={ENGINE}", f"--sqlite-path={DATA}/influxd.sqlite"]
    if os.environ.get("DOCKER_INFLUXDB_INIT_MODE") == "setup" and not BOLT.exists():
        set_up(program)
    os.execvp(program[0], program)


if __name__ == "__main__":
    if Path(sys.argv[0]).name == "entrypoint.py":
        start()
    elif sys.argv[1:] == ["ping"]:
        urllib.request.urlopen(f"{host()}/ping", timeout=5)
    elif sys.argv[1:3] == ["bucket", "create"]:
        make_bucket()
    else:
        sys.exit(f"influx of the tests does not know {sys.argv[1:]}")
