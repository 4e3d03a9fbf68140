"""Who may see what, where callers are known by tailscaled alone: real peers ask the API on the node's own address."""

import json
import signal
import sys

import pytest

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

PORT = 8480


@pytest.fixture
def api(tailnet, watch):
    """`tailtrace api` on the store of `watch`, beyond loopback; Bob is an admin. Gives its address."""
    url = f"http://{tailnet.server.v4}:{PORT}"
    process = tailnet.server.start(
        "api", sys.executable, "-m", "tailtrace_api.main", "api",
        TAILTRACE_STORE=f"sqlite:{watch.folder / 'rows.db'}",
        TAILTRACE_CHECKPOINT=str(watch.folder / "checkpoint.json"),
        TAILTRACE_LISTEN=f"{tailnet.server.v4}:{PORT}",
        TAILTRACE_ACCESS="whois",
        TAILTRACE_ADMINS='["bob@example.com"]',
        TAILSCALE_SOCKET=str(tailnet.server.socket),
    )  # fmt: skip
    try:
        watch.wait_for("tailtrace api", lambda: tailnet.laptop.curl(f"{url}/health").status == 200)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def users(reply):
    assert reply.status == 200, reply
    return {line["user"] for line in json.loads(reply.body)["logs"]}


def test_a_peer_sees_what_is_theirs_and_an_admin_all(tailnet, watch, api):
    paths = [watch.ask(node)[0] for node in (tailnet.laptop, tailnet.phone)]
    for path in paths:
        watch.row(path)
    logs = f"{api}/analytics/access-logs?hours=1"
    assert users(tailnet.laptop.curl(logs)) == {"alice@example.com"}
    assert users(tailnet.phone.curl(logs)) == {"alice@example.com", "bob@example.com"}
    assert tailnet.laptop.curl(f"{logs}&user=bob@example.com").status == 403
    assert tailnet.laptop.curl(f"{api}/analytics/system-health-history").status == 403
    assert tailnet.phone.curl(f"{api}/analytics/system-health-history").status == 200


def test_a_service_a_claim_and_the_machine_itself_are_nobody(tailnet, watch, api):
    logs = f"{api}/analytics/access-logs"
    refused = tailnet.runner.curl(logs)
    assert refused.status == 401
    assert json.loads(refused.body)["detail"] == f"{tailnet.runner.v4} is a device without a person: send a token"
    claim = ("-H", "Tailscale-User-Login: bob@example.com")
    assert tailnet.runner.curl(logs, *claim).status == 401
    assert users(tailnet.laptop.curl(logs, *claim)) <= {"alice@example.com"}
    assert tailnet.server.curl(logs).status == 401, "TAILTRACE_ACCESS has no `local`"


def test_an_address_that_changed_hands_is_its_new_holder_s(tailnet, watch, api):
    logs = f"{api}/analytics/access-logs?hours=1"
    path, _ = watch.ask(tailnet.laptop)
    watch.row(path)
    assert users(tailnet.laptop.curl(logs)) == {"alice@example.com"}
    tailnet.say(laptop={"As": "carol@example.com"})
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["UserProfile"]["LoginName"] == "carol@example.com")
    watch.wait_for("Carol", lambda: users(tailnet.laptop.curl(logs)) == set())
