"""The image by itself, by the commands of docs/deployment.md, "One container"."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker]
PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
SAMPLE = PAGE.parents[1] / "tests" / "samples" / "tailtrace.log"
ASKED = "/dashboard/complete"
UP_S_MAX = 300
MB_MAX = {"plain": 120, "pdf": 250}
"""What an image may be above its base."""
MONTH = "2025-10"


@pytest.fixture
def commands(engine: Any, tmp_path: Path) -> Iterator[list[str]]:
    """As they stand there, with the log in a folder of the test's."""
    (text,) = re.findall(r"^```sh\n(docker build.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    text = text.replace("-v /var/log/nginx:", f"-v {tmp_path}:").replace(
        "stat -c %g /var/log/nginx", f"stat -c %g {tmp_path}"
    )
    engine.clean()
    yield [line for line in text.replace("\\\n", "").splitlines() if line]
    engine.clean()


def megabytes(engine: Any, image: str) -> float:
    """How much larger it is than its base."""
    sizes = engine.docker("image", "inspect", "--format", "{{.Size}}", image, "python:3.13-slim-trixie").split()
    return (int(sizes[0]) - int(sizes[1])) / 1e6


def test_the_image_is_small(stack_image: str, engine: Any) -> None:
    assert megabytes(engine, stack_image) <= MB_MAX["plain"]


@pytest.mark.slow
def test_the_image_with_a_pdf_is_small_and_makes_one(pdf_image: str, engine: Any, tmp_path: Path) -> None:
    assert megabytes(engine, pdf_image) <= MB_MAX["pdf"]
    tmp_path.chmod(0o755)
    (tmp_path / "log").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "log").chmod(0o644)
    steps = f"tailtrace import /in/log >&2; tailtrace report --month {MONTH} --pdf month.pdf >&2; head -c 5 month.pdf"
    run = ("run", "--rm", "-v", f"{tmp_path}:/in:ro", "--entrypoint", "sh", pdf_image, "-euc", steps)
    assert engine.docker(*run) == "%PDF-"


def test_one_container(stack_image: str, engine: Any, commands: list[str], tmp_path: Path) -> None:
    log = tmp_path / "tailtrace.log"
    line = json.loads(SAMPLE.read_text(encoding="utf-8").splitlines()[0])
    assert line["request_uri"] == ASKED
    log.write_text(json.dumps({**line, "msec": f"{time.time():.3f}"}, separators=(",", ":")) + "\n", encoding="utf-8")
    log.chmod(0o640)
    tmp_path.chmod(0o755)  # as /var/log/nginx
    build, create, run = commands
    assert build == "docker build -t tailtrace ."
    engine.docker("tag", stack_image, "tailtrace")
    said = engine.run("sh", "-c", create).stdout
    token = next(word for word in said.split() if word.startswith("ttk_"))
    engine.run("sh", "-c", run)
    health = ("inspect", "--format", "{{.State.Health.Status}}", "tailtrace")

    def answer() -> str:
        asked = subprocess.run(
            ["curl", "-s", "-H", f"Authorization: Bearer {token}", "http://127.0.0.1:8470/analytics/access-logs"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return asked.stdout

    end_s = time.monotonic() + UP_S_MAX
    while engine.docker(*health) != "healthy" or ASKED not in answer():
        assert time.monotonic() < end_s, engine.docker("logs", "tailtrace") + answer()
        time.sleep(0.5)
    refused = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8470/analytics/access-logs"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.stdout == "401"
