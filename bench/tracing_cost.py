"""What tracing costs a request: the same FastAPI app bare and traced, in one process and one run.

    python bench/tracing_cost.py [SECONDS] [--uvicorn]

Rounds alternate between all kinds, so that a busy machine slows all alike; bare and not sampled, whose difference is
small, have one before each round of another kind. What disturbs a round only adds to it: of each kind the quickest
tenth of its rounds counts, by its middle.

Counted is the CPU of the loop's thread and that of every other thread of the process, which are the exporters: after
each round what is left to export is sent, and counts. No server is around the app, and it does nothing: a real request
takes many times as long, so the microseconds are what counts, and the part of what FastAPIInstrumentor adds by default.
With `--uvicorn` each request goes through uvicorn's own protocol (httptools if it is installed, else h11), from the
bytes that come to those that leave, without a socket: what a request of a served app costs at least.

At the end: what the parts of a request that is not sampled take alone and warm. Among an app's own code they take up to
twice as long.

| kind | is |
|---|---|
| bare | FastAPI, nothing around it |
| tailtrace, sampled; not sampled | `tailtrace.instrument(app)`, and what `traceparent` says; with the response header |
| the same, kept | not sampled, with `TAILTRACE_UNSAMPLED_SPANS`: its span waits for the answer, which is fine here |
| FastAPIInstrumentor | its defaults, with the SDK's batches to the same receiver |
| without send/receive | the same, `exclude_spans=["send", "receive"]` |
| FastAPI's own | its telemetry (0.16x), with the same providers |
"""

# ruff: noqa: D102, PLC0415, SLF001 - an asyncio.Transport is documented there; what is compared is imported where it is
# set up; the exporter is waited for inside
import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI

import tailtrace

REQUESTS_PER_ROUND = 400
Round = Callable[[FastAPI, str], Awaitable[None]]
RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
SMALL = ("bare", "tailtrace, not sampled")
OFF: Any = {"tracing": False, "metrics": False, "logs": False}


def new_app(telemetry: Any) -> FastAPI:
    try:
        app = FastAPI(telemetry=telemetry)
    except TypeError:  # Before 0.16x.
        app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item": item_id}

    return app


def headers_of(flags: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", b"127.0.0.1"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
        (b"accept", b"*/*"),
        (b"x-request-id", b"4bf92f3577b34da6a3ce929d0e0e4736"),
        (b"x-forwarded-for", b"100.64.0.7"),
        (b"x-tailtrace-request", b"1"),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-" + flags.encode()),
    ]


async def one_round(app: FastAPI, flags: str) -> None:
    headers = headers_of(flags)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    for _ in range(REQUESTS_PER_ROUND):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/items/7",
            "raw_path": b"/items/7",
            "query_string": b"a=1",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        await app(scope, receive, send)


class Wire(asyncio.Transport):
    """The client's end of a connection: tells when a whole answer has come."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: asyncio.Future[None] | None = None

    def write(self, data: Any) -> None:
        if self.answered is not None and bytes(data).endswith(b"}"):
            asyncio.get_running_loop().call_soon(self.answered.set_result, None)  # After the app's task has ended.
            self.answered = None

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)}.get(name, default)


async def one_served_round(app: FastAPI, flags: str) -> None:
    from uvicorn import Config
    from uvicorn.server import ServerState

    loop = asyncio.get_running_loop()
    config = Config(app, lifespan="off", access_log=False, log_level="warning")
    config.load()
    protocol: Any = config.http_protocol_class(config=config, server_state=ServerState(), app_state={}, _loop=loop)  # type: ignore[call-arg]
    wire = Wire()
    protocol.connection_made(wire)
    lines = [f"{name.decode()}: {value.decode()}" for name, value in headers_of(flags)]
    request = "\r\n".join(["GET /items/7?a=1 HTTP/1.1", *lines, "", ""]).encode()
    for _ in range(REQUESTS_PER_ROUND):
        wire.answered = answered = loop.create_future()
        protocol.data_received(request)
        await answered
    protocol.connection_lost(None)


async def measured(app: FastAPI, flags: str, flush: Callable[[], object], run: Round) -> tuple[float, float]:
    """Return microseconds of CPU per request: of the loop's thread, and of all the others."""
    everything, own = time.process_time(), time.thread_time()
    await run(app, flags)
    own_s = time.thread_time() - own
    flush()
    waited = time.thread_time() - own - own_s  # The wait itself is no cost of the app's.
    everything_s = time.process_time() - everything - waited
    return own_s / REQUESTS_PER_ROUND * 1e6, (everything_s - own_s) / REQUESTS_PER_ROUND * 1e6


def kinds() -> dict[str, tuple[FastAPI, str, Callable[[], object]]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.metrics import NoOpMeterProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    def provider() -> TracerProvider:
        made = TracerProvider()
        made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=65536, schedule_delay_millis=500))
        return made

    bare, ours, keeping, default, fewer = (new_app(OFF) for _ in range(5))
    os.environ["TAILTRACE_UNSAMPLED_SPANS"] = "2048"
    tailtrace.instrument(ours)
    tailtrace.instrument(keeping)
    middleware: Any = ours.build_middleware_stack()
    ours.middleware_stack = middleware
    middleware.late = None  # One process has one setting: this app is as without it.
    meters = MeterProvider([InMemoryMetricReader()])
    first, second, third = provider(), provider(), provider()
    FastAPIInstrumentor.instrument_app(default, tracer_provider=first, meter_provider=meters)
    FastAPIInstrumentor.instrument_app(
        fewer, tracer_provider=second, meter_provider=meters, exclude_spans=["send", "receive"]
    )
    found: dict[str, tuple[FastAPI, str, Callable[[], object]]] = {
        "bare": (bare, "01", lambda: None),
        "tailtrace, sampled": (ours, "01", flush_ours),
        "tailtrace, not sampled": (ours, "00", flush_ours),
        "the same, kept": (keeping, "00", flush_ours),
        "FastAPIInstrumentor": (default, "01", first.force_flush),
        "without send/receive": (fewer, "01", second.force_flush),
    }
    try:
        own = FastAPI(telemetry={"tracer_provider": third, "meter_provider": NoOpMeterProvider(), "logs": False})
    except TypeError:
        return found

    @own.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item": item_id}

    found["FastAPI's own"] = (own, "01", third.force_flush)
    return found


def flush_ours() -> None:
    from tailtrace import attach

    worker = attach._pipelines[0].worker
    if worker._thread is not None:
        ticket = worker.ask()
        while not worker.reached(ticket):
            time.sleep(0.001)


def print_parts(app: FastAPI) -> None:
    """Print nanoseconds of what a request that is not sampled goes through."""
    from opentelemetry import context
    from opentelemetry.context import Context

    from tailtrace import middleware, traceparent
    from tailtrace.answer import Answer
    from tailtrace.light_span import Unsampled

    layer: Any = app.middleware_stack
    value = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    headers = [(b"x-bench-%d" % number, b"1") for number in range(5)]
    headers += [(b"x-tailtrace-request", b"1"), (b"traceparent", value)]
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10"), (b"x-bench", b"1")]}
    answer = Answer(layer, lambda _message: asyncio.sleep(0), 0)
    answer.inner = {"path": "/items/7", "route": app.routes[-1]}

    def current() -> None:
        context.detach(context.attach(Context({**layer._context, middleware._SPAN_KEY: Unsampled(value, None)})))

    parts: dict[str, Callable[[], object]] = {
        "the request's headers": lambda: middleware._read(headers),
        "traceparent": lambda: traceparent.is_unsampled(value),
        "a context for children": current,
        "the answer's header": lambda: answer.with_header(start),
    }
    for name, part in parts.items():
        took_s = min(timeit.repeat(part, number=20_000, repeat=7, timer=time.thread_time)) / 20_000
        print(f"{name:26} {took_s * 1e9:6.0f} ns")


def quickest(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """Return loop and export of the round in the middle of the quickest tenth."""
    return sorted(rounds, key=sum)[len(rounds) // 20]


async def compare(seconds: float, run: Round) -> None:
    found = kinds()
    for app, flags, flush in found.values():
        await measured(app, flags, flush, run)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    deadline = time.perf_counter() + seconds
    others = [name for name in found if name not in SMALL]
    while time.perf_counter() < deadline:
        for name in (one for other in others for one in (*SMALL, other)):
            gc.collect()
            times[name].append(await measured(*found[name], run))
    quick = {name: quickest(rounds) for name, rounds in times.items()}
    bare_us = sum(quick["bare"])
    default_us = sum(quick["FastAPIInstrumentor"]) - bare_us
    print(f"{'us of CPU per request':24} {'loop':>7} {'export':>7} {'adds':>7}  {'of default':>10} {'of bare':>8}")
    for name, (loop_us, rest_us) in quick.items():
        added = loop_us + rest_us - bare_us
        print(
            f"{name:24} {loop_us:7.1f} {rest_us:7.1f} {added:7.1f}  {added / default_us:10.3f} {added / bare_us:8.2f}"
        )
    fewest, most = len(times["FastAPIInstrumentor"]), len(times["bare"])
    print(f"{fewest} to {most} rounds of {REQUESTS_PER_ROUND} requests")
    print("goals: sampled 0.150, not sampled 0.030, kept 0.100")
    print_parts(found["tailtrace, not sampled"][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=20.0)
    parser.add_argument("--uvicorn", action="store_true", help="each request through uvicorn's protocol")
    asked = parser.parse_args()
    run = one_served_round if asked.uvicorn else one_round
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
    os.environ.setdefault("OTEL_BSP_MAX_QUEUE_SIZE", "65536")  # Ten times a server's load: nothing may be lost.
    try:
        asyncio.run(compare(asked.seconds, run))
    finally:
        receiver.kill()


if __name__ == "__main__":
    main()
