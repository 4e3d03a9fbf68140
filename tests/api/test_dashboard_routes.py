"""The page and its files as they are sent: headers that guard, packing, caching, and what is said where nothing is built."""

import asyncio
import gzip

import httpx
import pytest
from fastapi import FastAPI

from tailtrace_api.access.roles import KEY, Caller, Role
from tailtrace_api.http.page import dashboard_router
from tailtrace_api.http.page_files import Built

PAGE = '<html data-lang="en" data-zone=""><script src="/static/assets/main-X.js"></script></html>'
SCRIPT = "console.log('ñ')\n" * 50


@pytest.fixture
def folder(tmp_path):
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    for name, text in (("index.html", PAGE), ("assets/main-X.js", SCRIPT), ("favicon.svg", "<svg/>")):
        (static / name).write_text(text, encoding="utf-8")
        (static / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "secret").write_text("no", encoding="utf-8")
    (static / "unpacked.txt").write_text("no", encoding="utf-8")
    return static


def ask(folder, path, lang="es", **headers):
    app = FastAPI()
    app.include_router(dashboard_router(Built(folder, lang, "Europe/Madrid")))

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path, headers={"accept-encoding": "identity", **headers})

    return asyncio.run(get())


def test_the_page_and_its_guards(folder):
    answer = ask(folder, "/")
    assert answer.text == PAGE.replace('data-lang="en" data-zone=""', 'data-lang="es" data-zone="Europe/Madrid"')
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not {"unsafe-inline", "unsafe-eval", "data:", "*"} & set(answer.headers["content-security-policy"].split())
    assert (answer.headers["x-content-type-options"], answer.headers["x-frame-options"]) == ("nosniff", "DENY")
    assert ask(folder, "/", **{"if-none-match": answer.headers["etag"]}).status_code == 304
    assert ask(folder, "/", lang="en").headers["etag"] != answer.headers["etag"]


def test_a_member_gets_a_page_that_says_so(folder):
    (folder / "index.html").write_text('<html data-role="admin">', encoding="utf-8")
    app = FastAPI()
    app.include_router(dashboard_router(Built(folder, "en", "UTC")))

    async def get(caller):
        async def guarded(scope, receive, send):
            await app({**scope, KEY: caller}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://test") as client:
            return await client.get("/")

    admin, member = (asyncio.run(get(Caller(role, "ben@example.com"))) for role in (Role.ADMIN, Role.MEMBER))
    assert admin.text == '<html data-role="admin">'
    assert member.text == '<html data-role="member">'
    assert member.headers["etag"] != admin.headers["etag"]
    assert member.headers["cache-control"] == "no-cache"


def test_files_with_a_hash_are_kept_for_good_and_come_packed(folder):
    plain = ask(folder, "/static/assets/main-X.js")
    packed = ask(folder, "/static/assets/main-X.js", **{"accept-encoding": "gzip"})
    assert plain.text == packed.text == SCRIPT
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(SCRIPT) / 5
    for answer in (plain, packed):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert ask(folder, "/favicon.ico").headers["content-type"].startswith("image/svg+xml")


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "%2e%2e/secret",
        "assets/../../secret",
        "/etc/passwd",
        "assets/main-X.js.gz",
        "unpacked.txt",
        "nope",
        "",
    ],
)
def test_only_what_was_built_is_given(folder, path):
    answer = ask(folder, f"/static/{path}")
    assert answer.status_code == 404
    assert answer.text != "no"


def test_a_page_that_is_built_under_a_running_server_is_given(folder, caplog):
    built = Built(folder, "en", "UTC")
    assert built.get("assets/main-X.js") is not None
    folder.rename(folder.parent / "before")
    assert built.get("index.html") is built.get("assets/main-X.js") is None
    assert "not built" in caplog.text
    (folder / "assets").mkdir(parents=True)
    for name, text in (("assets/main-Y.js", "anew()"), ("index.html", PAGE.replace("X", "Y"))):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert b"main-Y.js" in built.get("index.html").plain
    assert built.get("assets/main-Y.js").plain.read_text() == "anew()"
    assert built.get("assets/main-X.js") is None


def test_a_file_that_goes_while_it_is_asked_for_is_no_failure(folder):
    app = FastAPI()
    app.include_router(dashboard_router(Built(folder, "en", "UTC")))

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/static/assets/main-X.js")

    for file in (folder / "assets").iterdir():
        file.unlink()
    assert asyncio.run(get()).status_code == 404


def test_a_head_is_answered_as_its_get(folder):
    app = FastAPI()
    app.include_router(dashboard_router(Built(folder, "en", "UTC")))

    async def head(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.head(path)

    assert [asyncio.run(head(path)).status_code for path in ("/", "/static/favicon.svg", "/static/nope")] == [
        200,
        200,
        404,
    ]


def test_without_a_build_it_says_what_to_do(tmp_path, caplog):
    answer = ask(tmp_path, "/")
    assert answer.status_code == 503
    assert "<code>make web</code>" in answer.text
    (said,) = caplog.messages
    assert all(word in said for word in ("not built", "Node.js 20", "`make web`", "--force-reinstall"))


def test_of_a_page_that_is_built_the_log_says_nothing(folder, caplog):
    assert ask(folder, "/").status_code == 200
    assert caplog.messages == []


def test_components_are_for_all_pages_and_kept_for_a_short_time(folder):
    (folder / "js" / "components").mkdir(parents=True)
    (folder / "js" / "components" / "x.js").write_text(SCRIPT, encoding="utf-8")
    (folder / "js" / "components" / "x.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    answer = ask(folder, "/static/js/components/x.js")
    assert (answer.text, answer.headers["cache-control"]) == (SCRIPT, "public, max-age=300")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert ask(folder, answer.url.path, **{"if-none-match": answer.headers["etag"]}).status_code == 304
    for path in ("/static/js/components/nope.js", "/static/js/components/..%2f..%2f..%2fsecret"):
        assert ask(folder, path).status_code == 404
    assert "cross-origin-resource-policy" not in ask(folder, "/static/assets/main-X.js").headers
