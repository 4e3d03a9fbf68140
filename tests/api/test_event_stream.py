"""The stream of news: what it sends and when, that it ends, and that it asks the store once for all pages."""

import asyncio
import json
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tailtrace_api.answers.insight_records import StreamEvent
from tailtrace_api.http import event_stream as news
from tailtrace_api.http.event_stream import EventStream
from tailtrace_bridge.core.errors import StoreError

ONE = StreamEvent(newest=None, active=1)


async def take(stream, count):
    return [await asyncio.wait_for(anext(stream), 2) for _ in range(count)]


def event(name, value):
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"


def test_it_tells_what_changed_and_beats_when_nothing_did():
    answers = iter([StreamEvent(newest=None, active=0), StreamEvent(newest="t", active=1)])
    last = {}

    def ask():
        nonlocal last
        last = next(answers, last)
        return last

    async def run():
        stream = EventStream(ask, poll_s=0.02, beat_s=0.05).stream()
        return await take(stream, 4)

    assert asyncio.run(run()) == [
        "retry: 5000\n\n",
        event("news", {"newest": None, "active": 0}),
        event("news", {"newest": "t", "active": 1}),
        ": still here\n\n",
    ]


def test_trouble_is_told_once_and_its_end_too():
    answers = iter([StoreError("the disk is full"), StoreError("the disk is full"), ONE])

    def ask():
        found = next(answers, ONE)
        if isinstance(found, Exception):
            raise found
        return found

    async def run():
        return await take(EventStream(ask, poll_s=0.02, beat_s=9).stream(), 3)

    assert asyncio.run(run())[1:] == [
        event("trouble", "the disk is full"),
        event("news", {"newest": None, "active": 1}),
    ]


def test_all_pages_share_one_question():
    asked = 0

    def ask():
        nonlocal asked
        asked += 1
        return ONE

    async def run():
        told = EventStream(ask, poll_s=0.2)
        streams = [told.stream() for _ in range(10)]
        await asyncio.gather(*(take(stream, 2) for stream in streams))
        assert told.open == 10
        told.close()
        ends = await asyncio.gather(*(anext(stream, "end") for stream in streams))
        assert (ends, told.open) == (["end"] * 10, 0)

    asyncio.run(run())
    assert asked == 1


def test_too_many_pages_are_refused(monkeypatch):
    from fastapi import FastAPI

    monkeypatch.setattr(news, "STREAMS_MAX", 1)
    told = EventStream(lambda: ONE)
    told.open = 1
    app = FastAPI()
    app.include_router(news.event_stream_router(told))

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/analytics/stream")

    answer = asyncio.run(ask())
    assert (answer.status_code, told.refused) == (503, 1)


def test_an_open_stream_does_not_hold_up_the_end(tmp_path):
    import socket

    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, otlp = one.getsockname()[1], other.getsockname()[1]
    (tmp_path / "access.log").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "tailtrace_api.main", "serve"],
        env={
            "TAILTRACE_STORE": f"sqlite:{tmp_path / 't.db'}", "TAILTRACE_LOG": str(tmp_path / "access.log"),
            "TAILTRACE_LISTEN": f"127.0.0.1:{port}", "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{otlp}",
        },
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
            for _ in range(200):
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            with client.stream("GET", "/analytics/stream") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = answer.iter_lines()
                assert next(lines) == "retry: 5000"
                told = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
                assert {"tailtrace_streams_open 1.0", "tailtrace_streams_refused_total 0.0"} <= set(told)
                start_s = time.monotonic()
                process.send_signal(signal.SIGTERM)
                for _ in lines:
                    pass
        assert process.wait(10) == 0
        assert time.monotonic() - start_s < 3
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("poll_s", [0.01, 0.5])
def test_a_page_that_leaves_is_counted_out(poll_s):
    async def run():
        told = EventStream(lambda: ONE, poll_s=poll_s)
        stream = told.stream()
        await take(stream, 2)
        await stream.aclose()
        return told.open

    assert asyncio.run(run()) == 0
