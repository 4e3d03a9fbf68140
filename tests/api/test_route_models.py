"""Every route of the API says in OpenAPI what its answer is made of, down to the last field."""

import asyncio

import httpx
import pytest

from tailtrace_api.server import serve
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.wiring import parts


@pytest.fixture
def document(own_folder):
    chosen = settings.load(store=f"sqlite:{own_folder / 't.db'}", hosts=["test"])
    store = SqliteStore(own_folder / "t.db")
    guard = serve.make_guarded(chosen, store, parts.make_routes(chosen))

    async def get():
        transport = httpx.ASGITransport(guard, client=("127.0.0.1", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/openapi.json")).json()

    yield asyncio.run(get())
    store.close()


def gaps(schema, schemas, seen=()):
    """Return what lacks a shape within a schema: what may be anything, or an object of any fields."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [] if name in seen else gaps(schemas[name], schemas, (*seen, name))
    if "anyOf" in schema:
        return [gap for one in schema["anyOf"] for gap in gaps(one, schemas, seen)]
    if schema.get("type") == "array":
        return [gap for one in schema.get("prefixItems", [schema.get("items", {})]) for gap in gaps(one, schemas, seen)]
    if schema.get("type") != "object":
        return [] if "type" in schema else [schema]
    inner = list(schema.get("properties", {}).values())
    more = schema.get("additionalProperties", False)
    inner += [more] if isinstance(more, dict) else []
    return [schema] if more is True or not inner else [gap for one in inner for gap in gaps(one, schemas, seen)]


def test_every_answer_says_what_it_is_made_of(document):
    schemas = document["components"]["schemas"]
    answers = {
        path: next(answer.get("content", {}) for status, answer in method["responses"].items() if status[0] == "2")
        for path, one in document["paths"].items()
        for method in one.values()
    }
    json_answers = {
        path: content["application/json"] for path, content in answers.items() if "application/json" in content
    }
    assert len(json_answers) > 20
    assert [path for path, content in json_answers.items() if gaps(content["schema"], schemas)] == []


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "additionalProperties": True}])
def test_a_gap_is_found_wherever_it_is(schema):
    deep = {"anyOf": [{"type": "array", "items": {"$ref": "#/x/One"}}, {"type": "null"}]}
    assert gaps(deep, {"One": {"type": "object", "properties": {"inner": schema, "next": {"$ref": "#/x/One"}}}})
    assert not gaps(deep, {"One": {"type": "object", "properties": {"inner": {"type": "string"}}}})
