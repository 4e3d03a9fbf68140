"""`tailtrace import` into InfluxDB, as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.influxdb
SAMPLE = Path(__file__).parents[1] / "samples" / "tailtrace.log"


def test_it_says_what_it_did(influxdb: Any, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"], "TAILTRACE_STORE": "influxdb", "TAILTRACE_RETENTION_DAYS": "0",
        "INFLUXDB_V2_URL": influxdb.url, "INFLUXDB_V2_ORG": influxdb.org, "INFLUXDB_V2_TOKEN": influxdb.token,
        "INFLUXDB_V2_BUCKET": "imported",
    }  # fmt: skip

    def imported(*words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "tailtrace_api.commands.cli", "import", str(SAMPLE), *words)
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = imported()
    assert done.returncode == 0, done.stderr
    assert (done.returncode, done.stdout.partition(" in ")[0]) == (0, "3 lines: 3 stored, 0 known already, 0 rejected")
    again = imported("--json")
    assert again.returncode == 0, again.stderr
    assert {key: json.loads(again.stdout)[key] for key in ("stored", "duplicate")} == {"stored": 0, "duplicate": 3}
