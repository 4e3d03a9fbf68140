"""A guarded API over a real store, asked as whoever a test likes."""

import time

import httpx
import pytest

from tailtrace_api.access.tokens import Tokens
from tailtrace_api.server.serve import make_guarded
from tailtrace_bridge.core.records import Access, Failure, Identity, Row, Traffic
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.traces.pack import pack
from tailtrace_bridge.wiring import parts

S = 1_000_000
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "nANA", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "nBEN", "", "static")
TRACES = {"ana@example.com": "a" * 32, "ben@example.com": "b" * 32}


@pytest.fixture(autouse=True)
def _own_settings(own_folder):
    pass


@pytest.fixture
def chosen(tmp_path):
    """Settings of a test's own folder; whatever is given stands beside them."""

    def choose(**more):
        return settings.load(
            **{
                "store": f"sqlite:{tmp_path / 't.db'}",
                "checkpoint": tmp_path / "checkpoint.json",
                "hosts": ["test"],
                "requests_per_s": 0,
                **more,
            }
        )

    return choose


def rows(now_us):
    made = []
    for key, who in enumerate((ANA, BEN)):
        for n in range(3):
            trace = TRACES[who.user] if n == 0 else ""
            route = f"/{who.device}"
            access = Access(
                now_us - (n + 2) * S, 10 * key + n, who.address, "GET", route, 200, 5_000, None, True, 10, "",
                trace, "", "curl/8", "",
            )  # fmt: skip
            made.append(Row(access, who, route, Traffic.APP, None, ""))
    return made


@pytest.fixture
def make_api(chosen):
    """Makes the app of `tailtrace api` on a store with three requests each of Ana and of Ben."""
    opened = []

    def make(**more):
        picked = chosen(**more)
        store = parts.open_store(picked)
        opened.append(store)
        made = rows(time.time_ns() // 1000)
        store.write(made)
        traced = [pack(row, "sample", [], service="nginx", has_messages=False) for row in made if row.access.trace_id]
        store.keep_traces(traced, 1 << 20)
        store.add_failures(
            [Failure(one.access.time_us, one.access.key, "f" * 16, "", "500 /x", "", "") for one in made]
        )
        return make_guarded(picked, store, parts.make_routes(picked))

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def tokens(tmp_path):
    """Secrets: of a member, of an admin, of an app that may only send spans, and one that was revoked."""
    kept = Tokens(tmp_path / "tailtrace.tokens.json")
    numbers = iter(range(100))

    def random(size):
        return f"{next(numbers):0{size}}"

    made = {
        "member": kept.create("ana", "member", "ana@example.com", random=random, now_us=1),
        "admin": kept.create("boss", "admin", "", random=random, now_us=2),
        "spans": kept.create("app", "spans", "", random=random, now_us=3),
        "revoked": kept.create("gone", "admin", "", random=random, now_us=4),
    }
    kept.revoke("gone")
    return made


@pytest.fixture
def ask():
    """`await ask(app, path)`: one request, of a peer elsewhere unless `peer` says another, and its answer."""

    async def one(app, path, *, peer="203.0.113.5", method="", token="", **more):
        method = method or ("POST" if path == "/mcp" else "GET")  # a GET of it is a stream without an end
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        transport = httpx.ASGITransport(app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            return await client.request(method, path, headers=headers, **more)

    return one
