"""The dashboard's page at `/`, and the files under `/static/` that `make web` built, with the headers that guard them.

| asked for | answered |
|---|---|
| `/` | the page; revalidated by its ETag each time |
| `/login`, `/login/…` | the page of a login link, and its files; revalidated by their ETag |
| `/static/assets/…`, with a hash in the name | for good: a new build has new names |
| `/static/js/components/…`, which pages of other origins link to | kept for `SHORT`, then revalidated by its ETag |
| other files of `/static/` | revalidated by their ETag |
| anything, where nothing was built | 503, a page that says what to do, as the log does at the start |

Only files that were there at the start are given, by their exact names; so no name can lead elsewhere. A `.gz` beside
a file is sent to who takes it. The page carries no script or style in itself, and may load from its own host only.
"""

import gzip
import hashlib
import logging
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

_LOGGER = logging.getLogger(__name__)

STATIC = Path(__file__).parents[1] / "static"
PAGE = "index.html"
LOGIN_PAGE = "login/index.html"
METHODS = ["GET", "HEAD"]
FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
SHORT = "public, max-age=300"
COMPONENTS = "js/components/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LANG, _ZONE = b'data-lang="en"', b'data-zone=""'
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tailtrace</title>
<h1>The dashboard is not built yet</h1>
<p>It needs Node.js 20 or later with npm. In a clone that is run as it is: <code>make web</code>.
Installed from a clone: <code>pip install --force-reinstall --no-deps .</code> there, which builds it.
Then start tailtrace again.</p>
<p>The answers are there without it: <code>tailtrace report</code>, or <a href="/openapi.json">the API</a>.</p></html>
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent: plain, packed, and how long it may be kept."""

    plain: Path | bytes
    packed: Path | bytes
    etag: str
    media_type: str
    cache: str
    is_for_all: bool = False
    """Pages of other origins load it, even those that take only what says so (COEP)."""

    def answer(self, request: Request) -> Response:
        """Return the file, packed to who takes that, or 304 to who has it."""
        headers = {**SECURITY, "ETag": self.etag, "Cache-Control": self.cache, "Vary": "Accept-Encoding"}
        if self.is_for_all:
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(_read(self.packed), headers=headers, media_type=self.media_type)
        return Response(_read(self.plain), headers=headers, media_type=self.media_type)


def _read(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def load_files(folder: Path, lang: str, zone: str) -> dict[str, File]:
    """Find what was built.

    The page learns `lang`, for who prefers no language that it has, and the server's time zone.
    """
    files: dict[str, File] = {}
    for path in sorted(folder.rglob("*")):
        packed = path.with_name(f"{path.name}.gz")
        if path.suffix == ".gz" or not path.is_file() or not packed.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        text = path.read_bytes()
        if name in {PAGE, LOGIN_PAGE}:
            text = text.replace(_LANG, f'data-lang="{lang}"'.encode()).replace(_ZONE, f'data-zone="{zone}"'.encode())
            files[name] = File(text, gzip.compress(text, mtime=0), _etag(text), media_type, REVALIDATE)
        else:
            files[name] = File(path, packed, _etag(text), media_type, _cache(name), name.startswith(COMPONENTS))
    return files


def _cache(name: str) -> str:
    if name.startswith("assets/"):
        return FOREVER
    return SHORT if name.startswith(COMPONENTS) else REVALIDATE


def _etag(text: bytes) -> str:
    return f'"{hashlib.sha256(text).hexdigest()[:20]}"'


def dashboard_router(*, lang: str, zone: str, folder: Path = STATIC) -> APIRouter:
    """Make the routes of the page and its files, as they are now in `folder`."""
    router = APIRouter(include_in_schema=False)
    files = load_files(folder, lang, zone)
    if PAGE not in files:  # pip shows no warning of a build that went well
        _LOGGER.warning(
            "the dashboard is not built: install Node.js 20 or later with npm; then run `make web` in a clone that is "
            "run as it is, or `pip install --force-reinstall --no-deps .` in the clone that was installed from. The "
            "API and `tailtrace report` work without"
        )

    @router.api_route("/", methods=METHODS)
    def page(request: Request) -> Response:
        if PAGE not in files:
            return HTMLResponse(_MISSING, 503, headers=SECURITY)
        return files[PAGE].answer(request)

    @router.api_route("/login", methods=METHODS)
    def login(request: Request) -> Response:
        return (
            files[LOGIN_PAGE].answer(request) if LOGIN_PAGE in files else HTMLResponse(_MISSING, 503, headers=SECURITY)
        )

    @router.api_route("/login/{name}", methods=METHODS)
    def login_file(name: str, request: Request) -> Response:
        return static(f"login/{name}", request)

    # Of its own, since a page of another origin loads it whoever looks at that page.
    @router.api_route(f"/static/{COMPONENTS}{{name}}", methods=METHODS)
    def component(name: str, request: Request) -> Response:
        return static(f"{COMPONENTS}{name}", request)

    @router.api_route("/static/{name:path}", methods=METHODS)
    def static(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, f"no file {name!r}; the page that asks for it may be of an older build: reload it")
        return files[name].answer(request)

    @router.api_route("/favicon.ico", methods=METHODS)
    def favicon(request: Request) -> Response:
        return static("favicon.svg", request)

    return router
