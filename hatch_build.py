"""Puts the dashboard's page into a wheel or sdist that is built in a clone: by npm, where it is not built yet.

| the page | npm | what happens |
|---|---|---|
| is built (`make web`; an sdist carries it) | either | nothing |
| is not | there (Node.js 20 or later) | it is built, as `make web` does |
| is not | missing, or it fails | a warning; TAILTRACE_BUILD_PAGE=require makes that an error |

An app's environment needs no page, so its absence must not stop an installation. An editable one is the clone itself.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIRE = "require"


class CustomBuildHook(BuildHookInterface[Any]):
    """Hatchling calls it before it packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page where it is missing."""
        root = Path(self.root)
        if version == "editable" or (root / "api/tailtrace_api/static/index.html").is_file():
            return
        if (wrong := _build(root / "api" / "web")) is None:
            return
        said = f"the dashboard's page is not in it: {wrong}; the answers are there without: `tailtrace report`, the API"
        if os.environ.get("TAILTRACE_BUILD_PAGE") == REQUIRE:
            raise SystemExit(said)
        self.app.display_warning(said)


def _build(folder: Path) -> str | None:
    """Build it; return what went wrong."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "no npm: install Node.js 20 or later (https://nodejs.org) and install tailtrace again"
    for command in ([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], [node, "build.mjs"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            return f"{Path(command[0]).name} failed in {folder}: {(done.stderr or done.stdout)[-500:].strip()}"
    return None
