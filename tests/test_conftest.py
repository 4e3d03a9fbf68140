"""A missing server skips by hand and fails where it is required. Each case is a run of pytest on a test of one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]


def run(folder: Path, *, nginx: str, require: str) -> tuple[int, str]:
    (folder / "test_one.py").write_text("import pytest\n\n@pytest.mark.nginx\ndef test_one(): pass\n", encoding="utf-8")
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = nginx: needs nginx\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(folder)],
        env={**os.environ, "TAILTRACE_NGINX": nginx, "TAILTRACE_REQUIRE": require},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("nginx", "require", "status", "said"),
    [
        (sys.executable, "nginx", 0, "1 passed"),
        ("/nowhere/nginx", "", 0, "SKIPPED [1] conftest.py"),
        ("/nowhere/nginx", "nginx", 1, "TAILTRACE_REQUIRE asks for nginx: TAILTRACE_NGINX=/nowhere/nginx: no program"),
        ("/nowhere/nginx", "nginks", 4, "TAILTRACE_REQUIRE: no marker is called nginks"),
    ],
)
def test_policy(tmp_path: Path, nginx: str, require: str, status: int, said: str) -> None:
    returned, output = run(tmp_path, nginx=nginx, require=require)
    assert returned == status, output
    assert said in output
