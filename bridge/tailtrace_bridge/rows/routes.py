"""The route of a request whose span we lack: a template the app uses, or its path with the ids folded. Pure.

| the request | its route |
|---|---|
| fits a learned template | the most specific: a literal segment before `{id}`, `{id}` before `{path:path}` |
| for a static file (`/static/css/app.3f9a.js`) | first folder and extension: `/static/*.js` |
| method `_OTHER`, or a target that is no path | `__other__` |
| answered 400, 404 or 444, its folded path never seen with another status | `__other__`: scanners ask for these |
| any other | the folded path |
| any other, with `limit` folded paths known, the store's too | `__other__`, counted in `over_limit_count` |
| its app told one, by span or header, with `limit` of these known, the store's too | the same |

A folded path has no empty segments (`/a//b/` is `/a/b`), `*` for all that lies deeper than `DEPTH_MAX`, and `{id}` for
a segment that looks like a value: a number or date, hex or a UUID, a long token, an e-mail address, percent-encoded
text, anything with braces (so that braces with other names are an app's). A file keeps its extension:
`/reports/438.pdf` is `/reports/{id}.pdf`.

A template learned for a service (nginx's `$server_name`) holds for its requests; one learned for none holds for all.
One that a store recalls is of any method, until it is learned for one.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tailtrace_bridge.core.records import OTHER
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.rows.traffic import static_extension

DEPTH_MAX = 8
SEGMENT_LENGTH_MAX = 64
ROUTE_LENGTH_MAX = 512
FEATURE_LENGTH_MAX = 128
CACHE_ENTRIES_MAX = 8192
"""When so many answers are remembered, all are forgotten: the common ones are back within a few lines."""
ANY_METHOD = ""
UNKNOWN_STATUSES = frozenset({400, 404, 444})
"""444 is nginx's own: the connection was closed without an answer."""

_TELLING = re.compile(rf"[0-9@%{{}}-]|/[^/]{{{SEGMENT_LENGTH_MAX + 1}}}")
"""Each value has one of these, or is as long: a path with none is of words, and is told so at one look."""
_VALUES = re.compile(
    r"/(?:"
    rf"[^/]{{{SEGMENT_LENGTH_MAX + 1},}}"
    r"|[^@%{}/]*+[@%{}][^/]*"  # an e-mail address; text that someone typed
    r"|(?=[^0-9/]*+[0-9])(?=[^a-z/]*+[a-z])(?=[^A-Z/]*+[A-Z])[A-Za-z0-9._~=-]{16,}"  # base64, a JWT
    r"|[+-]?[0-9][0-9TZ.,:+_-]*"  # a number, a date, a list of numbers
    r"|(?=[A-Fa-f]*+[0-9])[0-9A-Fa-f]{8,}"  # hex
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # a UUID
    r"|(?=(?:[A-Za-z]*+[0-9]){4})[A-Za-z0-9]{16,}"  # base32, a ULID
    r")(?=/|\Z|\.[a-z][a-z0-9]{0,4}(?:/|\Z))"
)
"""All values of a path, in one pass; the extension behind one stays. A date or hex may be the begin of base64."""


@dataclass(slots=True)
class _Node:
    """The learned templates that share their first segments."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    mixed: dict[tuple[str, str], "_Node"] = field(default_factory=dict)
    """A segment such as `{name}.json`, by the text before and behind its values."""
    value: "_Node | None" = None
    ends: dict[str, str] = field(default_factory=dict)
    """Method → template that ends here; `ANY_METHOD` of one that was recalled."""
    rests: dict[str, str] = field(default_factory=dict)
    """Method → template that ends here with `{…:path}`, which takes any number of segments."""


class Routes:
    """Templates learned so far, those that apps told, and the folded paths given out; at most `limit` of each."""

    def __init__(self, limit: int = 2000) -> None:
        self._limit = limit
        self._roots: dict[str, _Node] = {}
        self._learned: set[tuple[str, str, str]] = set()
        self._told: set[tuple[str, str]] = set()
        """The (service, route) of apps, the store's too: a limit on those of this run alone grows with each restart."""
        self._features: dict[str, str] = {}
        self._folded: set[str] = set()
        self._cache: dict[tuple[str, str, str, bool], str] = {}
        self.over_limit_count = 0
        """Requests that became `__other__` because `limit` folded paths, or routes of apps, were known."""
        self.unlearned_count = 0
        """Templates not learned because `limit` were known."""

    def learn(self, method: str, route: str, service: str = "") -> None:
        """Learn an app's template. To learn one again costs one look-up."""
        if (method, route, service) in self._learned or not route.startswith("/") or len(route) > ROUTE_LENGTH_MAX:
            return
        if len(self._learned) >= self._limit:
            self.unlearned_count += 1
            return
        self._learned.add((method, route, service))
        self._grow(method, route, service)

    def _grow(self, method: str, route: str, service: str) -> None:
        self._cache.clear()
        node = self._roots.setdefault(service, _Node())
        for segment in _segments(route):
            if segment.startswith("{") and segment.endswith(":path}"):
                node.rests.setdefault(method, route)
                return
            node = _child(node, segment)
        node.ends.setdefault(method, route)

    def recall(self, routes: Iterable[str], templates: Iterable[tuple[str, str]] = ()) -> None:
        """Know what a store has: so `limit` holds, and a route keeps its name, over restarts and imports.

        `routes` are all its routes; what has braces of its own is no folded path. `templates` are the (service, route)
        of those that an app told: at most `limit` are recalled, those with names of their own in their braces first.
        """
        self._folded.update(route for route in routes if route.startswith("/") and not has_names(route))
        told = {(service, route) for service, route in templates if route != OTHER} - self._told
        # A path without a slash is nothing to look a request up by, and comes last.
        for service, route in sorted(told, key=lambda one: (one[1][:1] != "/", not has_names(one[1]), one)):
            if len(self._told) < self._limit:
                self._told.add((service, route))
                if route.startswith("/"):
                    self._grow(ANY_METHOD, route, service)

    def reported(self, method: str, route: str, service: str = "") -> str:
        """Learn a template that an app told, and return it; `__other__` where too many are known."""
        if (service, route) not in self._told:
            if len(self._told) >= self._limit:
                self.unlearned_count += 1
                self.over_limit_count += 1
                return OTHER
            self._told.add((service, route))
        self.learn(method, route, service)
        return route

    def learn_openapi(self, document: dict[str, Any]) -> None:
        """Learn templates and feature names from an app's OpenAPI file. What is malformed in it is passed over.

        A name is untrusted text, and is made printable; a route that is not printable is malformed.
        """
        paths = document.get("paths")
        for route, operations in paths.items() if isinstance(paths, dict) else ():
            if not isinstance(route, str) or not route.isprintable() or not isinstance(operations, dict):
                continue
            # GET names the feature where a path has several operations.
            for method in sorted(filter(_is_method, operations), key=lambda method: method != "get"):
                self.learn(method.upper(), route)
                summary = operations[method].get("summary") if isinstance(operations[method], dict) else None
                if isinstance(summary, str) and summary.strip() and (method.upper(), route, "") in self._learned:
                    self._features.setdefault(route, printable(summary.strip(), FEATURE_LENGTH_MAX))

    def learned(self) -> list[tuple[str, str]]:
        """Return each learned (method, template), in order; a template of two services once."""
        return sorted({(method, route) for method, route, _ in tuple(self._learned)})

    def feature(self, route: str) -> str:
        """Return the human name of a route: its OpenAPI summary, or the route itself."""
        return self._features.get(route, route)

    def features(self) -> dict[str, str]:
        """Return the human names of routes, of those that have one."""
        return dict(self._features)

    def template(self, method: str, path: str, service: str = "", status: int = 200) -> str:
        """Return the route of a request; see the head of this file."""
        key = (method, path, service, status in UNKNOWN_STATUSES)
        route = self._cache.get(key)
        if route is None:
            route = self._find(*key)
            # `__other__` may become a route later, and each one is counted: it is not remembered.
            if route != OTHER:
                if len(self._cache) >= CACHE_ENTRIES_MAX:
                    self._cache.clear()
                self._cache[key] = route
        return route

    def _find(self, method: str, path: str, service: str, unknown: bool) -> str:
        if not path.startswith("/"):
            return OTHER
        segments = _segments(path)
        for name in {service: None, "": None}:
            found = list(_matches(self._roots[name], segments, 0)) if name in self._roots else []
            if not found:
                continue
            # A method that no template has: HEAD, or one that the app refuses.
            templates = next((one for one in found if method in one or ANY_METHOD in one), found[0])
            return templates.get(method) or templates.get(ANY_METHOD) or next(iter(templates.values()))
        folded = _fold(path, segments)
        if method == "_OTHER" or (unknown and folded not in self._folded):
            return OTHER
        if folded not in self._folded and len(self._folded) >= self._limit:
            self.over_limit_count += 1
            return OTHER
        self._folded.add(folded)
        return folded


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def has_names(route: str) -> bool:
    """Return whether a route is surely an app's: other braces than `{id}` are in it, which no folded path has."""
    return "{" in route.replace("{id}", "")


def _is_method(key: object) -> bool:
    return key in {"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}


def _child(node: _Node, segment: str) -> _Node:
    start, end = segment.find("{"), segment.rfind("}")
    if start < 0 or end < start:
        return node.literals.setdefault(segment, _Node())
    if start > 0 or end < len(segment) - 1:
        return node.mixed.setdefault((segment[:start], segment[end + 1 :]), _Node())
    if node.value is None:
        node.value = _Node()
    return node.value


def _matches(node: _Node, segments: list[str], depth: int) -> Iterator[dict[str, str]]:
    """Return what fits `segments`, the most specific first. Each node is looked at once at most: it is a tree."""
    if depth == len(segments):
        if node.ends:
            yield node.ends
    else:
        segment = segments[depth]
        if literal := node.literals.get(segment):
            yield from _matches(literal, segments, depth + 1)
        for (before, behind), child in node.mixed.items():
            fits = segment.startswith(before) and segment.endswith(behind)
            if fits and len(segment) > len(before) + len(behind):
                yield from _matches(child, segments, depth + 1)
        if node.value is not None:
            yield from _matches(node.value, segments, depth + 1)
    if node.rests:
        yield node.rests


def _fold(path: str, segments: list[str]) -> str:
    if extension := static_extension(path):
        folder = _with_ids(f"/{segments[0]}") if len(segments) > 1 else ""
        return f"{folder}/*.{extension}"
    folded = _with_ids("/" + "/".join(segments[:DEPTH_MAX]))
    return f"{folded}/*" if len(segments) > DEPTH_MAX else folded


def _with_ids(path: str) -> str:
    return path if _TELLING.search(path) is None else _VALUES.sub("/{id}", path)
