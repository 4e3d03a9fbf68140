"""Routes whose making is put off: made once, when a path below theirs is asked for, and in the document all the same."""

import asyncio

import httpx
import pytest
from fastapi import APIRouter

from tailtrace_api.http.api import Api


class Making:
    """Makes a router with `/answers/one`; fails as often as it is told."""

    def __init__(self, failures=0):
        self.count, self.failures = 0, failures

    def __call__(self):
        self.count += 1
        if self.count <= self.failures:
            raise OSError("no memory")
        router = APIRouter(prefix="/answers")
        router.add_api_route("/one", lambda: {"n": self.count})
        return [router]


def app_of(making):
    app = Api()
    app.add_api_route("/health", lambda: {"status": "ok"})
    app.put_off(["answers"], making)
    return app


def asked(app, *paths):
    """Ask for all paths at once; return the status and the body of each."""

    async def ask_all():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = await asyncio.gather(*(client.get(path) for path in paths))
            return [(one.status_code, one.text) for one in answers]

    return asyncio.run(ask_all())


@pytest.mark.parametrize(
    ("path", "status", "count"),
    [
        ("/health", 200, 0),
        ("/answer", 404, 0),
        ("/answersome", 404, 0),
        ("/", 404, 0),
        ("/answers", 404, 1),
        ("/answers/two", 404, 1),
        ("/answers/one", 200, 1),
        ("/answers/one/", 307, 1),
    ],
)
def test_they_are_made_for_a_path_below_theirs(path, status, count):
    making = Making()
    assert asked(app_of(making), path)[0][0] == status
    assert making.count == count


def test_they_are_made_once_for_all_who_ask_meanwhile():
    making = Making()
    app = app_of(making)
    assert asked(app, *["/answers/one"] * 5, "/health") == [(200, '{"n":1}')] * 5 + [(200, '{"status":"ok"}')]
    assert {"/health", "/answers/one"} <= {route.path for route in app.routes}
    assert asked(app, "/answers/one") == [(200, '{"n":1}')]


def test_all_routes_have_them_before_anybody_asked():
    making = Making()
    app = app_of(making)
    assert {route.path for route in app.routes} >= {"/health", "/answers/one"}
    assert asked(app, "/answers/one") == [(200, '{"n":1}')]


def test_what_failed_is_tried_again():
    making = Making(failures=1)
    app = app_of(making)
    assert asked(app, "/answers/one")[0][0] == 500
    assert asked(app, "/health", "/answers/one") == [(200, '{"status":"ok"}'), (200, '{"n":2}')]
