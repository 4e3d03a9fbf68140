"""The two clients against the fake API: what they find, which errors they give, and that no key leaks."""

import json
import logging

import anyio
import pytest

from tailtrace_bridge.core import errors
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Found, NotFound, Unavailable
from tailtrace_bridge.identity.control.auth import ApiKey, OAuthClient
from tailtrace_bridge.identity.control.client import TailscaleClient
from tailtrace_bridge.identity.control.headscale import HeadscaleClient
from tailtrace_bridge.identity.control.lookups import ControlStatus, Whois
from tailtrace_bridge.identity.control.testing import API_KEY, CLIENT_ID, CLIENT_SECRET, FakeAnswer

pytestmark = pytest.mark.anyio

LIST = "GET /api/v2/tailnet/-/devices?fields=default"
TOKEN = "POST /api/v2/oauth/token"
MINUTE_US = 60_000_000


@pytest.fixture
async def client(api, clock, sleep):
    async with TailscaleClient(API_KEY, clock=clock, base_url=api.url, sleep=sleep) as client:
        yield client


def oauth_client(api, clock, sleep, secret=CLIENT_SECRET):
    oauth = OAuthClient(CLIENT_ID, secret, clock=clock)
    return TailscaleClient(oauth=oauth, clock=clock, base_url=api.url, sleep=sleep)


async def test_one_call_answers_everything(api, client):
    assert [device.name for device in await client.list_devices()] == ["alice-laptop", "runner", "hello"]
    for address in ("100.64.0.7", "fd7a:115c:a1e0::7", "fd7a:115c:a1e0:0:0:0:0:7", "::ffff:100.64.0.7"):
        found = await client.get_device_by_ip(address)
        assert found is not None
        assert (found.name, found.stale) == ("alice-laptop", False)
    assert await client.get_device_by_ip("100.64.0.8") is None
    for device_id in ("nALICE11CNTRL", "50053"):
        assert (await client.get_device(device_id)).user == "alice@example.com"
    assert api.requests == [LIST]


async def test_a_device_that_is_not_in_the_list_is_asked_for(api, client):
    await client.list_devices()
    api.devices.append({"id": "50099", "nodeId": "nNEW", "name": "new.ts.net"})
    assert (await client.get_device("nNEW")).name == "new"
    assert await client.get_device("no/such") is None
    assert api.requests[1:] == ["GET /api/v2/device/nNEW?fields=default", "GET /api/v2/device/no%2Fsuch?fields=default"]


async def test_whois_by_the_list(client):
    assert await client.whois("100.64.0.7") == Whois(
        address="100.64.0.7",
        kind="user",
        user="alice@example.com",
        device="alice-laptop",
        node_id="nALICE11CNTRL",
        tags="",
        online=True,
        last_seen_us=1_779_999_900_000_000,
        provider="control",
    )
    runner = await client.whois("100.64.0.9")
    assert (runner.kind, runner.user, runner.tags, runner.online) == ("tagged", "", "tag:ci,tag:server", False)
    assert await client.whois("100.64.0.8") is None
    assert await client.whois("alice") is None


@pytest.mark.parametrize(
    ("local", "user", "provider"),
    [
        (
            Found(Identity("100.64.0.7", "user", "al@example.com", "al", "nALICE11CNTRL", "", "localapi")),
            "al@example.com",
            "localapi",
        ),
        (NotFound(), "alice@example.com", "control"),
        (Unavailable("no socket"), "alice@example.com", "control"),
    ],
)
async def test_localapi_has_the_first_word(api, clock, local, user, provider):
    async with TailscaleClient(API_KEY, clock=clock, base_url=api.url, local_whois=lambda _: local) as client:
        answer = await client.whois("100.64.0.7")
        assert (answer.user, answer.provider) == (user, provider)
        assert api.requests == ([] if provider == "localapi" else [LIST])
        await client.list_devices()
        assert (await client.whois("100.64.0.7")).online is True


async def test_status(clock, client):
    assert await client.get_status() == ControlStatus(
        api_reachable=True,
        devices_total=3,
        devices_online=1,
        keys_expired=(),
        keys_expiring_soon=("alice-laptop",),
        stale=False,
        age_us=0,
        problem="",
    )
    clock.now_us += 5 * 86_400_000_000
    status = await client.get_status()
    assert (status.keys_expired, status.keys_expiring_soon) == (("alice-laptop",), ())


async def test_status_says_what_is_wrong(api, client):
    api.api_keys.clear()
    status = await client.get_status()
    assert (status.api_reachable, status.devices_total) == (False, 0)
    assert "TAILSCALE_API_KEY is wrong, revoked or expired; make a new one at https://" in status.problem


async def test_five_minutes_then_an_hour_of_stale_answers(api, clock, client):
    await client.list_devices()
    clock.now_us += 5 * MINUTE_US - 1
    await client.list_devices()
    assert len(api.requests) == 1
    clock.now_us += 1
    await client.list_devices()
    assert len(api.requests) == 2
    api.api_keys.clear()
    clock.now_us += 5 * MINUTE_US
    answer = await client.whois("100.64.0.7")
    assert (answer.user, answer.stale, answer.age_us) == ("alice@example.com", True, 5 * MINUTE_US)
    assert "has expired or was revoked" in answer.reason
    device = await client.get_device_by_ip("100.64.0.7")
    assert (device.stale, device.age_us) == (True, 5 * MINUTE_US)
    assert len(api.requests) == 3  # and no more for half a minute
    status = await client.get_status()
    assert (status.api_reachable, status.stale, status.devices_total) == (False, True, 3)
    clock.now_us += 55 * MINUTE_US + 1
    with pytest.raises(errors.ExpiredKeyError):
        await client.list_devices()
    api.api_keys.add(API_KEY)
    with pytest.raises(errors.ExpiredKeyError):
        await client.list_devices()
    clock.now_us += MINUTE_US
    assert (await client.list_devices()).stale is False


async def test_who_asks_at_once_shares_a_call(api, client):
    api.next_answers.append(FakeAnswer(body=b'{"devices": []}', delay_s=0.1))
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(client.whois, "100.64.0.7")
    assert api.requests == [LIST]


async def test_a_cancelled_caller_leaves_the_load_to_the_next(api, client):
    api.next_answers.append(FakeAnswer(delay_s=5))
    with anyio.move_on_after(0.1):
        await client.list_devices()
    assert len(await client.list_devices()) == 3


def refused(status, said):
    return FakeAnswer(status, json.dumps({"message": said}).encode())


@pytest.mark.parametrize(
    ("answer", "error", "fault", "says"),
    [
        (refused(401, "API token invalid"), errors.BadKeyError, "setting", "answered 401 (API token invalid): TAILSCALE_API_KEY is wrong, revoked or expired; make a new one at https://login.tailscale.com/admin/settings/keys"),
        (refused(401, "API token expired"), errors.ExpiredKeyError, "setting", "TAILSCALE_API_KEY has expired or was revoked; make a new one"),
        (refused(403, "no permission"), errors.MissingScopeError, "setting", "give the OAuth client the scope devices:core:read"),
        (refused(404, "tailnet not found"), errors.NoSuchTailnetError, "setting", "set TAILNET to the name on"),
        (FakeAnswer(302, b"", {"Location": "https://example.com"}), errors.ControlAnswerError, "setting", "answered 302; check that TAILSCALE_API_URL"),
        (FakeAnswer(200, b"<html>"), errors.ControlAnswerError, "setting", "gave no JSON object; check"),
        (FakeAnswer(200, b"{}"), errors.ControlAnswerError, "setting", "gave no list of devices; check that TAILSCALE_API_URL is Tailscale's"),
        (FakeAnswer(200, b"x" * 5000), errors.ControlAnswerError, "setting", "gave more than 4096 bytes; check"),
        (FakeAnswer(200, b"no gzip at all", {"Content-Encoding": "gzip"}), errors.ControlAnswerError, "setting", "cannot be decoded; check"),
        (FakeAnswer(429, b"", {"Retry-After": "120"}), errors.RateLimitedError, "load", "wants fewer calls (429), for 120 s"),
    ],
)  # fmt: skip
async def test_errors_that_are_not_tried_again(api, clock, sleep, answer, error, fault, says):
    api.next_answers.append(answer)
    async with TailscaleClient(API_KEY, clock=clock, base_url=api.url, sleep=sleep, response_bytes_max=4096) as client:
        with pytest.raises(error) as caught:
            await client.list_devices()
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert caught.value.fault == fault
    assert (sleep.slept_s, len(api.requests)) == ([], 1)


async def test_no_call_before_retry_after_is_over(api, clock, client):
    api.next_answers.append(FakeAnswer(429, b"", {"Retry-After": "120"}))
    for seconds, calls in ((0, 1), (60, 1), (59, 1)):
        clock.now_us += seconds * 1_000_000
        with pytest.raises(errors.RateLimitedError):
            await client.load_devices()
        assert len(api.requests) == calls
    clock.now_us += 1_000_000
    assert len(await client.load_devices()) == 3
    assert client.transport.counts.rate_limited == 3


async def test_429_is_waited_for(api, client, sleep):
    api.next_answers += [
        FakeAnswer(429, b"", {"Retry-After": "7"}),
        FakeAnswer(429, b"", {"Retry-After": "Thu, 28 May 2026 20:26:50 GMT"}),  # 10 s after the clock's start
    ]
    assert len(await client.list_devices()) == 3
    first, second = sleep.slept_s
    assert 7 <= first < 7.5
    assert 10 - first <= second < 10 - first + 1.001
    assert (client.transport.counts.retries, len(api.requests)) == (2, 3)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_5xx_is_tried_four_times_with_jitter(api, client, sleep, status):
    api.next_answers += [FakeAnswer(status)] * 9
    with pytest.raises(errors.ControlUnavailableError, match=f"answered {status}.*the service's fault"):
        await client.list_devices()
    assert len(api.requests) == 4
    assert all(0 <= slept <= most for slept, most in zip(sleep.slept_s, (0.5, 1, 2), strict=True))


async def test_an_answer_that_does_not_come(api, clock, sleep):
    api.next_answers += [FakeAnswer(delay_s=5)] * 4
    async with TailscaleClient(API_KEY, clock=clock, base_url=api.url, sleep=sleep, attempt_s=0.1) as client:
        with pytest.raises(errors.ControlUnavailableError, match=r"did not answer within 0\.1 s; check the network"):
            await client.list_devices()
    assert len(api.requests) == 4


async def test_nobody_listens(clock, sleep):
    async with TailscaleClient(API_KEY, clock=clock, base_url="http://127.0.0.1:9", sleep=sleep) as client:
        with pytest.raises(
            errors.ControlUnavailableError, match=r"http://127\.0\.0\.1:9 is out of reach .*TAILSCALE_API_URL"
        ):
            await client.list_devices()


async def test_the_total_time_ends_the_tries(api, clock):
    api.next_answers += [FakeAnswer(503)] * 9
    async with TailscaleClient(API_KEY, clock=clock, base_url=api.url, total_s=0) as client:
        with pytest.raises(errors.ControlUnavailableError):
            await client.list_devices()
    assert len(api.requests) == 1


async def test_a_token_is_renewed_before_it_ends(api, clock, sleep):
    async with oauth_client(api, clock, sleep) as client:
        await client.load_devices()
        clock.now_us += 55 * MINUTE_US - 1
        await client.load_devices()
        assert api.requests == [TOKEN, LIST, LIST]
        clock.now_us += 1
        await client.load_devices()
        assert api.requests[3:] == [TOKEN, LIST]


async def test_a_token_that_is_refused_is_renewed_once(api, clock, sleep):
    async with oauth_client(api, clock, sleep) as client:
        await client.load_devices()
        api.revoke_tokens()
        await client.load_devices()
        assert api.requests == [TOKEN, LIST, LIST, TOKEN, LIST]


async def test_oauth_errors(api, clock, sleep):
    async with oauth_client(api, clock, sleep, secret="tskey-client-wrong") as client:
        with pytest.raises(errors.BadKeyError, match="TAILSCALE_OAUTH_CLIENT_SECRET is wrong"):
            await client.load_devices()
    api.scopes = {"dns:read"}
    async with oauth_client(api, clock, sleep) as client:
        with pytest.raises(errors.MissingScopeError, match="devices:core:read"):
            await client.load_devices()
    api.next_answers.append(FakeAnswer(200, b'{"access_token": 7}'))
    async with oauth_client(api, clock, sleep) as client:
        with pytest.raises(errors.ControlAnswerError, match="gave no token"):
            await client.load_devices()


async def test_a_post_is_not_tried_again(api, clock, sleep):
    api.next_answers.append(FakeAnswer(503))
    async with oauth_client(api, clock, sleep) as client:
        with pytest.raises(errors.ControlUnavailableError):
            await client.load_devices()
    assert api.requests == [TOKEN]


@pytest.mark.parametrize(("tailnet", "works"), [("example.com", True), ("-", True), ("example.org", False)])
async def test_tailnets(api, clock, tailnet, works):
    async with TailscaleClient(API_KEY, tailnet, clock=clock, base_url=api.url + "/") as client:
        if works:
            assert len(await client.list_devices()) == 3
        else:
            with pytest.raises(errors.NoSuchTailnetError):
                await client.list_devices()


async def test_headscale(api, clock):
    api.nodes = [
        {
            "id": "1",
            "ipAddresses": ["100.64.0.1", "fd7a:115c:a1e0::1"],
            "name": "bobs-phone",
            "givenName": "phone",
            "user": {"id": "1", "name": "bob"},
            "online": True,
            "createdAt": "2026-05-01T00:00:00Z",
        }
    ]
    async with HeadscaleClient(API_KEY, clock=clock, base_url=api.url) as client:
        answer = await client.whois("fd7a:115c:a1e0::1")
        assert (answer.user, answer.device, answer.online, answer.provider) == ("bob", "phone", True, "control")
        assert (await client.get_device("1")).name == "phone"
        assert api.requests == ["GET /api/v1/node"]
        assert await client.get_device("2") is None
        api.next_answers.append(FakeAnswer(200, b"{}"))
        assert await client.load_devices() == ()
        api.next_answers.append(FakeAnswer(401, b"Unauthorized"))
        with pytest.raises(errors.ExpiredKeyError, match="`headscale apikeys create`"):
            await client.load_devices()


@pytest.mark.parametrize("status", [200, 401, 403, 404, 418, 429, 500])
async def test_keys_do_not_leak(api, clock, sleep, caplog, status):
    """Not even where the server says them back."""
    caplog.set_level(logging.DEBUG)
    seen = []
    for client in (
        TailscaleClient(API_KEY, clock=clock, base_url=api.url, sleep=sleep),
        oauth_client(api, clock, sleep),
    ):
        async with client:
            await client.load_devices()
            secrets = (API_KEY, CLIENT_SECRET, *api.tokens)
            api.next_answers += [FakeAnswer(status, f'{{"message": "{" ".join(secrets)}"}}'.encode())] * 4
            try:
                await client.load_devices()
            except errors.ControlApiError as error:
                # What the server says of others' keys is not ours to know: redact what this client holds.
                seen += [(client, str(error)), (client, repr(error))]
            seen += [(client, repr(client)), (client, repr(client.__dict__)), (client, repr(vars(client.transport)))]
            seen.append((client, caplog.text))
            caplog.clear()
            api.next_answers.clear()
            clock.now_us += 3600_000_000
    first = seen[0][0]
    for client, text in seen:
        for secret in (API_KEY,) if client is first else (CLIENT_SECRET, api.tokens[-1]):
            assert secret not in text


@pytest.mark.parametrize("key", ["", "tskey\nx", "tskey-é", "two words"])
async def test_a_key_that_is_none(key):
    with pytest.raises(
        errors.BadKeyError, match="TAILSCALE_API_KEY has characters that no key has, or is empty"
    ) as caught:
        ApiKey(key)
    assert not key or key not in str(caught.value)
