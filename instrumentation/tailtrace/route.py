"""The route template of a request that the app has routed: `/api/items/{id}`, with the prefix of every mount.

A router writes what it chose into the scope that it was called with. That need not be the one that the server made: a
middleware may pass on a copy, with a prefix stripped. So each router of the app and of its mounts is watched, and the
innermost scope counts:

| the innermost scope says | the template is |
|---|---|
| a route, or an endpoint, that stands once in the app, its mounts and included routers | that one's, prefix and all |
| one that stands there more than once (a router included twice), or a mount, or one unknown | found by matching again |
| neither: nothing matched | none |

The template begins with the root path that the app was called with. One that ends in a mount without a matching route
(static files) is `PREFIX/{path}`: never the path itself, which has no bound.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from starlette.routing import Match

try:
    from fastapi.routing import iter_route_contexts as _flat
except ImportError:  # FastAPI before 0.137 keeps one flat list of routes; so does Starlette.
    _flat = iter  # type: ignore[assignment,unused-ignore]

Scope = MutableMapping[str, Any]
ROOT_PATHS_MAX = 16
"""Root paths of an app that begin its templates: one for each tenant would have no bound."""
DEPTH_MAX = 32
_AMBIGUOUS = ""


class Templates:
    """The templates of one app, indexed by route and by endpoint."""

    def __init__(self, app: Any, watch: Callable[[Any], None]) -> None:
        self._app = app
        self._router = getattr(app, "router", app)  # The app's own `routes` is a call that asks it.
        self._watch = watch
        self._known: dict[int, str] = {}
        self._kept: list[Any] = []  # What the ids of `_known` belong to: none is given to another object meanwhile.
        self._count = -1
        self._root_paths: set[str] = set()

    def of(self, scope: Scope, path: str, root_path: str) -> str:
        """Return the template, or an empty string.

        `scope` is the innermost router's. `path` and `root_path` are those that the app's own router was called with.
        """
        chosen = scope.get("route")
        if chosen is None:
            chosen = scope.get("endpoint")
            if chosen is None:
                return ""
        if self._count != len(self._router.routes):
            self._index()
        found: str | None = self._known.get(id(chosen))
        if not found:
            fresh = {key: scope[key] for key in ("type", "method", "headers") if key in scope}
            fresh.update(path=path, root_path=root_path, path_params={})
            found = _find(self._app.routes, fresh, 0)
            if found is None:
                return ""
        return self._prefix(root_path.rstrip("/")) + found if root_path else found

    def _prefix(self, root_path: str) -> str:
        if root_path and root_path not in self._root_paths:
            if len(self._root_paths) >= ROOT_PATHS_MAX:
                return ""
            self._root_paths.add(root_path)
        return root_path

    def _index(self) -> None:
        known: dict[int, str] = {}
        kept: list[Any] = []
        for route, template in self._walk(self._app.routes, "", 0):
            for chosen in (route, getattr(route, "endpoint", None)):
                if chosen is not None:
                    known[id(chosen)] = template if known.get(id(chosen), template) == template else _AMBIGUOUS
                    kept.append(chosen)
        self._known, self._kept, self._count = known, kept, len(self._app.routes)

    def _walk(self, routes: Iterable[Any], prefix: str, depth: int) -> Iterator[tuple[Any, str]]:
        for context in _flat(list(routes)):
            template = prefix + _path_format(context)
            route = getattr(context, "original_route", context)
            inner = _inner_app(context)
            if inner is None:
                yield route, template
            elif depth < DEPTH_MAX:
                self._watch(inner)
                yield from self._walk(inner.routes, template.removesuffix("/{path}"), depth + 1)


def _inner_app(route: Any) -> Any:
    """Return the app or router behind a mount or a host, however many middlewares stand before it; None for a leaf."""
    if getattr(route, "endpoint", None) is not None:
        return None
    app = getattr(route, "app", None)
    for _ in range(DEPTH_MAX):
        if app is None or isinstance(getattr(app, "routes", None), list):
            return app
        app = getattr(app, "app", None)
    return None


def _find(routes: Iterable[Any], scope: Scope, depth: int) -> str | None:
    """Walk the routes as a router does: the first full match, else the first that only lacks the method."""
    partial: str | None = None
    for route in _flat(list(routes)):
        match, child = route.matches(dict(scope))
        if match is Match.NONE:
            continue
        if "root_path" in child or getattr(route, "host", None) is not None:
            prefix = _path_format(route).removesuffix("/{path}")
            inner = _inner_app(route)
            found = (
                _find(inner.routes, {**scope, **child}, depth + 1) if inner is not None and depth < DEPTH_MAX else None
            )
            return prefix + ("/{path}" if found is None and "root_path" in child else found or "")
        if match is Match.FULL:
            return _path_format(route)
        partial = partial or _path_format(route)
    return partial


def _path_format(route: Any) -> str:
    return getattr(route, "path_format", None) or getattr(route, "path", None) or ""


App = Callable[[Scope, Any, Any], Awaitable[None]]


class Watched:
    """Stands in a router's `middleware_stack`, and tells the request's `Answer` which scope the router works on."""

    __slots__ = ("_key", "_stack")

    def __init__(self, stack: App, key: str) -> None:
        self._stack = stack
        self._key = key

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        """Tell, and pass on."""
        answer = scope.get(self._key)
        if answer is not None:
            if answer.inner is None:
                answer.path = scope.get("path", "")
                answer.root_path = scope.get("root_path", "")
            answer.inner = scope
        return self._stack(scope, receive, send)


def watch(app: Any, key: str) -> None:
    """Watch an app's router, or a router, once. Whatever has none is left alone."""
    router = getattr(app, "router", app)
    stack = getattr(router, "middleware_stack", None)
    if stack is not None and not isinstance(stack, Watched) and isinstance(getattr(router, "routes", None), list):
        router.middleware_stack = Watched(stack, key)
