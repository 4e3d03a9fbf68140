"""What a client must be told to start `tailtrace mcp`, with absolute paths: `tailtrace mcp --print-config CLIENT`.

| client | file | form |
|---|---|---|
| `claude-desktop` | `claude_desktop_config.json`, opened from Settings → Developer | `mcpServers` |
| `claude-code` | `.mcp.json` in the project's folder | `mcpServers`, each with a type |
| `cursor` | `~/.cursor/mcp.json`, or `.cursor/mcp.json` in the project's folder | `mcpServers` |

A client starts it in a folder of its own choosing: paths are absolute, and what `tailtrace.toml` or the environment set
goes along as environment. Secrets are never printed; their `_FILE` forms go along as paths.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.settings.derived import environment_name
from tailtrace_bridge.settings.table import Settings

CLIENTS = {
    "claude-desktop": "Settings → Developer → Edit Config opens claude_desktop_config.json. Restart Claude Desktop.",
    "claude-code": "Save it as .mcp.json in the project's folder, or: claude mcp add tailtrace -- COMMAND ARGS.",
    "cursor": "Save it as ~/.cursor/mcp.json, or as .cursor/mcp.json in the project's folder.",
}
_ALONG = (
    "lang", "timezone", "openapi", "features", "identities", "tailscale_socket", "tailscale_api_key_file", "tailnet",
    "tailscale_api_url",
    "control", "influxdb_v2_url", "influxdb_v2_org", "influxdb_v2_token_file", "influxdb_v2_bucket",
)  # fmt: skip
"""Settings that change an answer."""
GROUPS = ("analytics", "tailscale")
"""The groups of `--tools`."""
_OF_A_CLIENT = ("lang",)
"""Those that matter where an API answers."""


def client_config(
    client: str,
    command: Path,
    settings: Settings,
    *,
    url: str | None = None,
    tools: str | None = None,
    name: str | None = None,
) -> str:
    """Return the JSON for a client; `command` is the program `tailtrace`. Raises `SettingsError` for one not known.

    A server of one group of tools is named after it, so that two stand in one file.
    """
    name = name or (f"tailtrace-{tools}" if tools in GROUPS else "tailtrace")
    if client not in CLIENTS:
        raise SettingsError(f"--print-config {client!r}: write {', '.join(CLIENTS)}")
    arguments = ["mcp", *(["--url", url] if url else ["--store", _absolute_store(settings.store)])]
    arguments += ["--tools", tools] if tools else []
    environment = _environment(settings, _OF_A_CLIENT if url else _ALONG)
    server: dict[str, Any] = {"type": "stdio"} if client == "claude-code" else {}
    server |= {"command": str(command.absolute()), "args": arguments}
    if environment:
        server["env"] = environment
    return json.dumps({"mcpServers": {name: server}}, indent=2, ensure_ascii=False)


def _absolute_store(store: str) -> str:
    kind, colon, path = store.partition(":")
    return f"{kind}:{Path(path).absolute()}" if colon else store


def _environment(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        value = getattr(settings, name)
        if value == Settings.model_fields[name].default:
            continue
        if isinstance(value, Path):
            value = value.absolute()
        found[environment_name(name)] = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return found
