"""Why FastAPI refused a request goes home in the header: field and reason, never a value, and so many of them."""

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

import tailtrace
from tailtrace.invalid import KINDS_MAX, OTHER, Invalid


class Line(BaseModel):
    amount: int


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    price: float
    lines: list[Line] = []
    notes: dict[str, int] = {}


def make_app(**handlers) -> FastAPI:
    app = FastAPI(exception_handlers=handlers.get("handlers"))
    tailtrace.instrument(app)

    @app.post("/orders/{number}")
    async def order(number: int, order: Order, limit: int = 9) -> str:
        return f"{number} {order.price} {limit}"

    return app


def said(app, path, body):
    """Ask as nginx's include file does, and return our header behind the time."""

    async def ask():
        sent = []

        async def receive():
            return {"type": "http.request", "body": body.encode(), "more_body": False}

        async def send(message):
            sent.append(message)

        path_only, _, query = path.partition("?")
        headers = [(b"x-tailtrace-request", b"1"), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path_only, "raw_path": path_only.encode(), "query_string": query.encode(), "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        return dict(sent[0]["headers"])[b"x-tailtrace"].decode()

    return asyncio.run(ask())


@pytest.fixture(autouse=True)
def _no_exporter(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")


@pytest.mark.parametrize(
    ("path", "body", "invalid"),
    [
        ("/orders/1", '{"price": 1}', None),
        ("/orders/1", "{}", "body.price:missing"),
        ("/orders/1", '{"price": "secret"}', "body.price:float_parsing"),
        ("/orders/secret", '{"price": 1}', "path.number:int_parsing"),
        ("/orders/1?limit=secret", '{"price": 1}', "query.limit:int_parsing"),
        ("/orders/1", '{"price": 1, "lines": [{}]}', "body.lines.*:missing"),
        ("/orders/1", '{"price": 1, "notes": {"secret": "x"}}', "body.notes.*:int_parsing"),
        ("/orders/1", '{"price": 1, "secret": 2}', "body.*:extra_forbidden"),
        ("/orders/1", '{"secret', "body.*:json_invalid"),
    ],
)
def test_field_and_reason_and_never_a_value(path, body, invalid):
    value = said(make_app(), path, body)
    parts = dict(one.partition("=")[::2] for one in value.split(";")[1:])
    assert parts["r"] == "/orders/{number}"
    assert parts.get("i") == invalid
    assert "secret" not in value


def test_a_handler_of_the_apps_own_may_answer_otherwise():
    from fastapi.exceptions import RequestValidationError

    async def own(_request, _error):
        return JSONResponse({"no": 1}, status_code=400)

    assert ";i=body.price:missing" in said(make_app(handlers={RequestValidationError: own}), "/orders/1", "{}")


def test_so_many_are_told_apart():
    class RequestValidationError(Exception):
        def errors(self):
            return [{"loc": ("body", self.args[0]), "type": "missing"}]

    invalid = Invalid()
    found = [invalid.of(RequestValidationError(f"field_{n}")) for n in range(KINDS_MAX + 5)]
    assert found[KINDS_MAX - 1 :] == [f"body.field_{KINDS_MAX - 1}:missing", *[OTHER] * 5]
    assert invalid.of(RequestValidationError("field_0")) == "body.field_0:missing"
    assert invalid.of(ValueError("secret")) == invalid.of(None) == ""
