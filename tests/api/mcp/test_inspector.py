"""The MCP Inspector, in node, as a client that nobody here wrote: over both transports, by its command line."""

import json
import subprocess

import pytest

pytestmark = pytest.mark.inspector
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(params=["stdio", "http"])
def inspect(request, inspector_program, tailtrace_program, environment, live_store, tmp_path):
    """Ask the inspector; give what it printed, and its exit status."""
    target = (
        [tailtrace_program, "mcp", "--store", f"sqlite:{live_store}"]
        if request.param == "stdio"
        else [f"{request.getfixturevalue('serve').url}/mcp", "--transport", "http"]
    )
    settings = [
        word for name, value in environment.items() if name == "TAILSCALE_SOCKET" for word in ("-e", f"{name}={value}")
    ]

    def inspect(method, *words):
        # Its own folder of settings, not that of whoever runs the tests.
        done = subprocess.run(
            [inspector_program, "--cli", *target, *(settings if request.param == "stdio" else []), "--method", method, *words],
            env={**environment, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout + done.stderr

    return inspect


def test_what_it_lists(inspect):
    status, listed = inspect("tools/list")
    assert (status, len(listed["tools"])) == (0, 12)
    assert all(
        tool["annotations"]["readOnlyHint"] and tool["outputSchema"]["type"] == "object" for tool in listed["tools"]
    )
    assert [one["name"] for one in inspect("prompts/list")[1]["prompts"]] == ["weekly_review", "what_is_wrong"]
    assert inspect("resources/read", "--uri", "tailtrace://definitions")[1]["contents"][0]["text"].startswith(
        "# Definitions"
    )
    assert (
        "half a page" in inspect("prompts/get", "--prompt-name", "weekly_review")[1]["messages"][0]["content"]["text"]
    )


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("get_system_performance", [], "7 days: up "),
        ("explain_request", [f"trace_id={TRACE}"], "It failed with ValueError."),
    ],
)
def test_what_it_is_answered(inspect, tool, arguments, text):
    given = [word for one in arguments for word in ("--tool-arg", one)]
    status, answer = inspect("tools/call", "--tool-name", tool, *given)
    assert (status, answer.get("isError", False)) == (0, False)
    assert text in answer["content"][0]["text"]
    assert answer["structuredContent"]


def test_a_wrong_argument(inspect):
    _, answer = inspect("tools/call", "--tool-name", "explain_request", "--tool-arg", "trace_id=xyz")
    assert 'give 32 hex digits, such as {\\"trace_id\\"' in json.dumps(answer)
