"""Get nginx's effective configuration: one tree of directives, each with its file and line.

| what is there | is read |
|---|---|
| no `--nginx-conf` | what `nginx -T` prints: every file that nginx itself would read |
| a file that begins with `# configuration file` | as such a print: `docker exec proxy nginx -T > dump` |
| any other file | as nginx.conf; what it includes is read from the disk |

crossplane reads one file at a time, and the includes are put in here: a file that is included in two places is in the
tree twice, since what it inherits differs. A relative path counts from the folder of nginx.conf, wherever the include
stands: https://nginx.org/en/docs/ngx_core_module.html#include
"""

import fnmatch
import glob
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tailtrace_api.nginx.process import find_nginx
from tailtrace_bridge.core.errors import BridgeError

PRINT_SECONDS_MAX = 10
BYTES_MAX = 8 * 1024 * 1024
"""Of all files together."""
FILES_MAX = 1000
DIRECTIVES_MAX = 200_000
"""Of the whole tree: includes multiply."""
DEPTH_MAX = 32
"""Of includes and blocks; nginx itself has no use for so many."""
DUMP_HEAD = "# configuration file "


class ConfigError(BridgeError):
    """A configuration that cannot be read; `cure` says what to do. `ours` is false where nginx itself refuses it."""

    def __init__(self, message: str, cure: str, *, ours: bool = True) -> None:
        super().__init__(message)
        self.cure = cure
        self.ours = ours


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, and of a block what stands in it."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: tuple["Directive", ...] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration: the tree, and the text of each file by its path."""

    directives: tuple[Directive, ...]
    texts: Mapping[str, str]


def read_config(given: Path | None, *, missing_includes: bool = False) -> Config:
    """Read the configuration; see the head of this file. Raises `ConfigError`, and `NginxError` without an nginx.

    With `missing_includes`, files that it includes need not be there: of a copy of nginx.conf they seldom are.
    """
    if given is None:
        return _from_dump(_print_config(), "nginx -T")
    text = _read(given)
    if text.startswith(DUMP_HEAD):
        return _from_dump(text, str(given))
    main = str(given.absolute())
    return _Reader(main, partial(_on_disk, missing=missing_includes)).read(text)


def split_dump(text: str) -> dict[str, str]:
    """Return the text of each file that a print of `nginx -T` holds, nginx.conf first."""
    files: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        path = line.removeprefix(DUMP_HEAD).rstrip("\r\n")
        if line.startswith(DUMP_HEAD) and path.endswith(":") and path.startswith("/"):
            lines = files.setdefault(path[:-1], [])
        else:
            lines.append(line)
    # nginx prints an empty line behind each file.
    return {path: "".join(found).removesuffix("\n") for path, found in files.items()}


def _print_config() -> str:
    command = [str(find_nginx()), "-T", "-q"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=said, check=False, timeout=PRINT_SECONDS_MAX
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{' '.join(command)}: {error}", "name the file with --nginx-conf") from error
        out.seek(0)
        said.seek(0)
        text = out.read(BYTES_MAX + 1).decode("utf-8", "replace")
        last = said.read(4000).decode("utf-8", "replace").strip().splitlines()[-2:]
    if done.returncode and os.geteuid() != 0:
        raise ConfigError(
            f"{command[0]} -T needs root here: {' '.join(last)}",
            "run `sudo tailtrace doctor`, or name a file that you may read: --nginx-conf /etc/nginx/nginx.conf",
        )
    if done.returncode:
        raise ConfigError(
            f"{command[0]} -T refuses the configuration: {' '.join(last)}",
            "mend what it names, until `nginx -t` says ok",
            ours=False,
        )
    if len(text) > BYTES_MAX:
        raise ConfigError(f"{command[0]} -T prints more than {BYTES_MAX} bytes", "name one file with --nginx-conf")
    return text


def _from_dump(text: str, name: str) -> Config:
    files = split_dump(text)
    if not files:
        raise ConfigError(f"{name}: no configuration in it", "make it anew: `sudo nginx -T > FILE`")

    def find(pattern: str) -> dict[str, str]:
        return {path: found for path, found in files.items() if _matches(path, pattern)}

    main = next(iter(files))
    return _Reader(main, find).read(files[main])


def _matches(path: str, pattern: str) -> bool:
    """As glob does: a star stays within its folder."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _on_disk(pattern: str, *, missing: bool) -> dict[str, str]:
    paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 - a pattern of any root
    return {path: _read(Path(path)) for path in paths[:FILES_MAX] if not missing or os.access(path, os.R_OK)}


def _read(path: Path) -> str:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ConfigError(f"{path}: no such file", "name nginx.conf, or a print of `nginx -T`, with --nginx-conf")
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", "run `sudo tailtrace doctor`, or pass a print of `nginx -T`"
        ) from error
    if len(data) > BYTES_MAX:
        raise ConfigError(f"{path}: longer than {BYTES_MAX} bytes: no nginx configuration", "name nginx.conf")
    return data.decode("utf-8", "replace")


@dataclass(slots=True)
class _Reader:
    """Puts the files together. `find` gives path and text of what an include's pattern names."""

    main: str
    find: Callable[[str], dict[str, str]]
    texts: dict[str, str] = field(default_factory=dict)
    parsed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    directives: int = 0
    bytes: int = 0

    def read(self, text: str) -> Config:
        return Config(self._tree(self._parse(self.main, text), self.main, 0), self.texts)

    def _parse(self, path: str, text: str) -> list[dict[str, Any]]:
        if path in self.parsed:
            return self.parsed[path]
        self.bytes += len(text)
        if self.bytes > BYTES_MAX or len(self.texts) >= FILES_MAX:
            raise ConfigError(
                f"{path}: with it there are more than {BYTES_MAX} bytes or {FILES_MAX} files",
                "check one server's file at a time with --nginx-conf",
            )
        self.texts[path] = text
        self.parsed[path] = _crossplane(path, text)
        return self.parsed[path]

    def _tree(self, found: list[dict[str, Any]], file: str, depth: int) -> tuple[Directive, ...]:
        if depth > DEPTH_MAX:
            raise ConfigError(
                f"{file}: more than {DEPTH_MAX} blocks or includes in each other", "does it include itself?"
            )
        tree: list[Directive] = []
        for item in found:
            self.directives += 1
            if self.directives > DIRECTIVES_MAX:
                raise ConfigError(f"{file}: more than {DIRECTIVES_MAX} directives", "check a smaller part of it")
            name, args = item["directive"], tuple(item["args"])
            if name == "include" and args:
                pattern = os.path.join(os.path.dirname(self.main), args[0])  # noqa: PTH118, PTH120 - may be a pattern
                for path, text in self.find(pattern).items():
                    tree += self._tree(self._parse(path, text), path, depth + 1)
                continue
            block = self._tree(item["block"], file, depth + 1) if "block" in item else None
            tree.append(Directive(name, args, file, item["line"], block))
        return tuple(tree)


def _crossplane(path: str, text: str) -> list[dict[str, Any]]:
    """Parse one file. The text is what nginx has read, which need not be on this disk: hence the temporary file."""
    # No other command needs it; it has no types.
    import crossplane  # type: ignore[import-untyped]  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".conf") as file:
        file.write(text if text.endswith("\n") else text + "\n")
        file.flush()
        try:
            # nginx has checked contexts and arguments; crossplane does not know every module's.
            payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
        except RecursionError:
            raise ConfigError(f"{path}: too many blocks in each other", "mend it, until `nginx -t` says ok") from None
    if payload["errors"]:
        error = payload["errors"][0]
        words = str(error["error"]).replace(file.name, path)
        raise ConfigError(f"{path}:{error['line']}: {words}", "mend it, until `nginx -t` says ok", ours=False)
    parsed: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return parsed
