"""The app of these tests, run as a program: a real uvicorn on a port of its own, which it prints."""

import asyncio
import logging
import socket
import sys

import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry import propagate
from opentelemetry.trace import get_tracer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import tailtrace

logging.basicConfig(level=logging.INFO, format="%(name)s|%(levelname)s|%(message)s", stream=sys.stderr)
if "user-provider" in sys.argv:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Printed(SpanExporter):
        def export(self, spans):
            for span in spans:
                sys.stdout.write(f"USER-SPAN {span.name}\n")
            return SpanExportResult.SUCCESS

    own = TracerProvider()
    own.add_span_processor(SimpleSpanProcessor(Printed()))
    trace.set_tracer_provider(own)

app = FastAPI(title="Chocolate factory")
sub = FastAPI()
router = APIRouter()
tasks_done = []


@app.get("/items/{item_id}")
async def item(item_id: int):
    return {"item": item_id}


@app.get("/healthz")
@app.get("/health-plans")
async def health():
    return "ok"


@app.get("/raises")
async def raises():
    raise ValueError("the secret is hunter2")


@app.get("/refuses/{code}")
async def refuses(code: int):
    raise HTTPException(code)


@app.get("/children/{code}")
async def children(code: int, *, wait_s: float = 0, count: int = 1):
    told = {}
    for number in range(count):
        with (
            get_tracer("app").start_as_current_span(f"outer {number}"),
            get_tracer("app").start_as_current_span("inner"),
        ):
            propagate.inject(told)
            await asyncio.sleep(wait_s)
    if code >= 500:
        raise HTTPException(code)
    return told


@app.get("/stream")
async def stream(*, fail: bool = False):
    async def chunks():
        for _ in range(3):
            yield b"x"
            await asyncio.sleep(0.1)
        if fail:
            raise RuntimeError

    return StreamingResponse(chunks())


@app.get("/background")
async def background(tasks: BackgroundTasks):
    async def work():
        await asyncio.sleep(0.4)
        tasks_done.append(1)

    tasks.add_task(work)
    return "soon"


@app.get("/background-done")
async def background_done():
    return len(tasks_done)


@app.get("/query")
async def query(q: str = ""):
    return q


@app.websocket("/ws/{room}")
async def ws(websocket: WebSocket, room: str):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@router.get("/orders/{order_id}")
async def order(order_id: str):
    if order_id == "bad":
        raise KeyError(order_id)
    return order_id


@sub.get("/reports/{day}")
async def report(day: str):
    if day == "never":
        raise ZeroDivisionError
    return day


@sub.get("/healthz")
async def sub_health():
    return "ok"


sub.include_router(router, prefix="/nested")
app.include_router(router, prefix="/shop/{shop}")
app.mount("/sub", sub)
app.mount("/tenants/{tenant}", sub)
app.mount("/plain", Starlette(routes=[Mount("/deep", routes=[Route("/{x}", lambda _request: PlainTextResponse("x"))])]))

tailtrace.instrument(app)
tailtrace.instrument(app)
if "instrument-sub" in sys.argv:
    tailtrace.instrument(sub)

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
sys.stdout.write(f"PORT {listener.getsockname()[1]}\n")
sys.stdout.flush()
server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", ws="websockets-sansio"))
server.run(sockets=[listener])
