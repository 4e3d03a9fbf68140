"""The files of the page that `make web` built, and the headers that guard them.

Only files that are there when the page is looked for are given, by their exact names; so no name can lead elsewhere.
A `.gz` beside a file is sent to who takes it. The page carries no script or style in itself, and may load from its own
host only.
"""

import gzip
import hashlib
import logging
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_LOGGER = logging.getLogger(__name__)

STATIC = Path(__file__).parents[1] / "static"
PAGE = "index.html"
MEMBERS_PAGE = "member.html"
"""The same for a member: it asks nothing that only an admin is told."""
LOGIN_PAGE = "login/index.html"
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
_LANG, _ZONE, _ROLE = b'data-lang="en"', b'data-zone=""', b'data-role="admin"'
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


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


class Built:
    """The files by their names. A page that is built anew is found without a new start: it comes with all its files."""

    def __init__(self, folder: Path, lang: str, zone: str) -> None:
        self._folder, self._lang, self._zone = folder, lang, zone
        self._of, self._files = self._build(), load_files(folder, lang, zone)

    def get(self, name: str) -> File | None:
        """Return a file, or None."""
        if (build := self._build()) != self._of:
            self._of, self._files = build, load_files(self._folder, self._lang, self._zone)
        return self._files.get(name)

    def _build(self) -> tuple[int, int] | None:
        """Return what tells one build from another."""
        try:
            found = (self._folder / PAGE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


def _read(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def load_files(folder: Path, lang: str, zone: str) -> dict[str, File]:
    """Find what was built, and say in the log where that is nothing.

    The page learns `lang`, for who prefers no language that it has, the server's time zone, and whether a member looks.
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
            files[name] = _of_text(text)
            if name == PAGE:
                files[MEMBERS_PAGE] = _of_text(text.replace(_ROLE, b'data-role="member"'))
        else:
            files[name] = File(path, packed, _etag(text), media_type, _cache(name), name.startswith(COMPONENTS))
    if PAGE not in files:  # pip shows no warning of a build that went well
        _LOGGER.warning(
            "the dashboard is not built: install Node.js 20 or later with npm; then run `make web` in a clone that is "
            "run as it is, or `pip install --force-reinstall --no-deps .` in the clone that was installed from. The "
            "API and `tailtrace report` work without"
        )
    return files


def _of_text(text: bytes) -> File:
    return File(text, gzip.compress(text, mtime=0), _etag(text), _TYPES[".html"], REVALIDATE)


def _cache(name: str) -> str:
    if name.startswith("assets/"):
        return FOREVER
    return SHORT if name.startswith(COMPONENTS) else REVALIDATE


def _etag(text: bytes) -> str:
    return f'"{hashlib.sha256(text).hexdigest()[:20]}"'
