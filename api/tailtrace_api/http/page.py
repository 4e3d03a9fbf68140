"""The dashboard's page at `/`, and the files under `/static/` that `make web` built.

| asked for | answered |
|---|---|
| `/` | the page, a member's or an admin's; revalidated by its ETag each time |
| `/login`, `/login/…` | the page of a login link, and its files; revalidated by their ETag |
| `/static/assets/…`, with a hash in the name | for good: a new build has new names |
| `/static/js/components/…`, which pages of other origins link to | kept for `SHORT`, then revalidated by its ETag |
| other files of `/static/` | revalidated by their ETag |
| anything, where nothing was built | 503, a page that says what to do, as the log does at the start |
"""

from contextlib import suppress

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from tailtrace_api.access.roles import sees_all
from tailtrace_api.http.page_files import COMPONENTS, LOGIN_PAGE, MEMBERS_PAGE, PAGE, SECURITY, Built

METHODS = ["GET", "HEAD"]
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tailtrace</title>
<h1>The dashboard is not built yet</h1>
<p>It needs Node.js 20 or later with npm. In a clone that is run as it is: <code>make web</code>.
Installed from a clone: <code>pip install --force-reinstall --no-deps .</code> there, which builds it.
Then reload this page.</p>
<p>The answers are there without it: <code>tailtrace report</code>, or <a href="/openapi.json">the API</a>.</p></html>
"""


def dashboard_router(files: Built) -> APIRouter:
    """Make the routes of the page and its files."""
    router = APIRouter(include_in_schema=False)

    def page_of(name: str, request: Request) -> Response:
        found = files.get(name)
        return HTMLResponse(_MISSING, 503, headers=SECURITY) if found is None else found.answer(request)

    @router.api_route("/", methods=METHODS)
    def page(request: Request) -> Response:
        return page_of(PAGE if sees_all(request.scope) else MEMBERS_PAGE, request)

    @router.api_route("/login", methods=METHODS)
    def login(request: Request) -> Response:
        return page_of(LOGIN_PAGE, request)

    @router.api_route("/login/{name}", methods=METHODS)
    def login_file(name: str, request: Request) -> Response:
        return static(f"login/{name}", request)

    # Of its own, since a page of another origin loads it whoever looks at that page.
    @router.api_route(f"/static/{COMPONENTS}{{name}}", methods=METHODS)
    def component(name: str, request: Request) -> Response:
        return static(f"{COMPONENTS}{name}", request)

    @router.api_route("/static/{name:path}", methods=METHODS)
    def static(name: str, request: Request) -> Response:
        found = files.get(name)
        with suppress(FileNotFoundError):  # a build began meanwhile
            if found is not None:
                return found.answer(request)
        raise HTTPException(404, f"no file {name!r}; the page that asks for it may be of an older build: reload it")

    @router.api_route("/favicon.ico", methods=METHODS)
    def favicon(request: Request) -> Response:
        return static("favicon.svg", request)

    return router
