"""The route template of a request that the app has routed: `/api/items/{id}`, with the prefix of every mount.

Frameworks leave the answer in the scope only in part, hence three steps:

| the scope says | the template is |
|---|---|
| a FastAPI "effective route": the route came with `include_router` | that one's template, prefix included |
| a route that stands in the app's own list | that route's template |
| anything else: a mount, or an included route after its handler failed | found by matching the path again |

FastAPI takes the effective route out of the scope when the handler is left: an error answer ends at the third step.
The template begins with the app's root path, where the server has one. Unrouted requests have no template. One that
ends in a mount without a matching route (static files) is `PREFIX/{path}`: never the path itself, which has no bound.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.routing import Match

try:
    from fastapi.routing import iter_route_contexts as _flat
except ImportError:  # FastAPI before 0.137 keeps one flat list of routes; so does Starlette.
    _flat = iter  # type: ignore[assignment,unused-ignore]

Scope = MutableMapping[str, Any]


def template(scope: Scope, app: Any, root_path: str) -> str:
    """Return the template of the request in `scope`, or an empty string.

    `app` and `root_path` are those the request came in with: a mount puts its own into the scope.
    """
    if scope.get("root_path", "") == root_path:
        route = scope.get("route")
        effective = scope.get("fastapi", {}).get("effective_route_context")
        if effective is not None and effective.original_route is route:
            return root_path + _path_format(getattr(effective, "starlette_route", None) or effective)
        if route is None and "endpoint" not in scope:
            return ""
        if route is not None and any(route is own for own in app.routes):
            return root_path + _path_format(route)
    # What matching reads, as it was before the app's own routing wrote into the scope.
    fresh = {key: scope[key] for key in ("type", "method", "path", "headers") if key in scope}
    found = _find(app.routes, {**fresh, "root_path": root_path, "path_params": {}})
    return "" if found is None else root_path + found


def _find(routes: Iterable[Any], scope: Scope) -> str | None:
    """Walk the routes as a router does: the first full match, else the first that only lacks the method."""
    partial: str | None = None
    for route in _flat(list(routes)):
        match, child = route.matches(dict(scope))
        if match is Match.NONE:
            continue
        if "root_path" in child:
            prefix = _path_format(route).removesuffix("/{path}")
            inner = _find(getattr(route, "routes", None) or (), {**scope, **child})
            return prefix + (inner or "/{path}")
        inner_routes = getattr(route, "routes", None)
        if inner_routes is not None:  # A `Host`: it routes by name and adds no prefix.
            return _find(inner_routes, {**scope, **child})
        if match is Match.FULL:
            return _path_format(route)
        partial = partial or _path_format(route)
    return partial


def _path_format(route: Any) -> str:
    return getattr(route, "path_format", None) or getattr(route, "path", None) or ""
