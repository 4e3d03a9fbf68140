"""Ctrl-C while a command loads: it ends, with nothing said, whatever is in the middle of being imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AT_IMPORT = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs these tests in the background ignores it

class Interrupted:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("what a library makes of it") from None

sys.meta_path.insert(0, Interrupted)
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("bridge", "typer"),
        ("bridge", "tailtrace_bridge.settings.table"),
        ("bridge", "tailtrace_bridge.wiring.bridge"),  # by the process that takes the command's place
        ("serve", "tailtrace_bridge.settings.table"),
        ("api", "uvicorn.server"),
    ],
)
def test_ctrl_c_while_a_command_loads(tmp_path, command, module):
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE"))
    }
    environment |= {"PYTHONPATH": str(tmp_path), "INTERRUPTED_AT": module}
    done = subprocess.run(
        [Path(sys.executable).with_name("tailtrace"), command],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
