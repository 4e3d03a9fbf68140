"""Say of each server and location whether the trace reaches its app and its requests reach the log. Pure.

What a place inherits, by nginx's rules:

| directive | from the place around it, if the place has | and `if`, `limit_except` |
|---|---|---|
| `proxy_set_header`, `proxy_hide_header` | none of its own: one of its own loses them all | inherit, cannot set |
| `access_log` | none of its own | as any place |
| `proxy_pass` and its kin | never | inherit |

What a place is told:

| its app is behind | the trace headers | status |
|---|---|---|
| nothing (a file, `return`) | none needed | ok |
| `proxy_pass` | ours, each once | ok |
| `proxy_pass` | no `traceparent` of ours, or `traceparent` or `Host` twice | failure |
| `proxy_pass` | another name of ours twice | warning |
| `proxy_pass` | ours, but the app is not asked what it did, or its answer to that reaches clients | warning |
| `proxy_pass` | ours, but `proxy_hide_header` from around it is lost | warning |
| `grpc_pass`, `fastcgi_pass`, `uwsgi_pass` … | `proxy_set_header` does nothing; its own parameter | ok or warning |

| its requests | status |
|---|---|
| are written in our format into a log that tailtrace reads | ok |
| the same, only `if=…`; or `access_log off` in a location; or no app is behind it and they are not counted | warning |
| are written in another format, elsewhere or not at all, and an app is behind it | failure |
| are written twice into what tailtrace reads | warning |

Sources: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_set_header and
https://nginx.org/en/docs/http/ngx_http_log_module.html#access_log
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tailtrace_api.doctor.checks import Check, Status, make_check, worst
from tailtrace_api.doctor.patch import Edit
from tailtrace_api.nginx.config import Config, Directive
from tailtrace_api.nginx.include_files import FILES_VERSION
from tailtrace_bridge.core.cards import VIEW_PATH
from tailtrace_bridge.logs.format import TAILTRACE_FORMATS_BEFORE, is_tailtrace_format

PLACES_MAX = 300
"""Servers and locations that are reported; a last check counts the others."""
HEADERS = (
    "traceparent",
    "tracestate",
    "x-request-id",
    "host",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-tailtrace-request",
)
"""What `tailtrace-proxy.conf` sets, in small letters."""
_BREAKS_WHEN_TWICE = frozenset({"traceparent", "host"})
_TRACE_VARIABLE = "$tailtrace_trace_id"
_OWN_TRACE = "00-$request_id-"
"""What `traceparent` begins with where no peer hands a trace over."""
_TRACEPARENT = '"00-$tailtrace_trace_id-$tailtrace_span_id-$tailtrace_flags"'
_OTHER_PASS = {
    "grpc_pass": ("grpc_set_header", "traceparent"),
    "fastcgi_pass": ("fastcgi_param", "HTTP_TRACEPARENT"),
    "uwsgi_pass": ("uwsgi_param", "HTTP_TRACEPARENT"),
    "scgi_pass": ("scgi_param", "HTTP_TRACEPARENT"),
}
_PASSES = frozenset({"proxy_pass", *_OTHER_PASS})
OWN_PATHS = ("/static/js/components/", "/analytics/widget")
"""Where a location that passes requests to tailtrace's widget ends (docs/cards.md): no trace, no usage."""
_ASKS = "x-tailtrace-request"
_STAMP = re.compile(r"# tailtrace(?: include files, version ([0-9]{1,6})|:)")
"""How each of our include files begins; before version 3 without one."""
_SAID = re.compile(r"\$upstream_http_(\w+)")
_SETTERS = frozenset(
    {"proxy_set_header", "proxy_hide_header", "access_log", *(setter for setter, _ in _OTHER_PASS.values())}
)
_INNER = frozenset({"location", "if", "limit_except"})
_NAMELESS = frozenset({"if", "limit_except"})
_DEFAULT_LOG = "logs/access.log"


@dataclass(frozen=True, slots=True)
class Place:
    """A server or a location with what holds in it."""

    title: str
    directive: Directive
    holder: Directive
    """The block that may set headers: the place itself, of an `if` the location around it."""
    own: dict[str, tuple[Directive, ...]]
    """The directives of `_SETTERS` that stand in it."""
    inherited: dict[str, tuple[Directive, ...]]
    """The same, from around it; what stands in it replaces them name by name."""
    passes: Directive | None

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.directive.file}:{self.directive.line}"

    def effective(self, name: str) -> tuple[Directive, ...]:
        """Return what holds here of one directive."""
        return self.own.get(name) or self.inherited.get(name, ())


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, and the edits that cure it."""

    checks: tuple[Check, ...]
    edits: tuple[Edit, ...]


def diagnose(config: Config, log: str, folder: str) -> Diagnosis:
    """Look at a whole configuration. `log` is `TAILTRACE_LOG`; `folder` is where the include files are or go."""
    https = [directive for directive in config.directives if directive.name == "http"]
    if not https:
        why = "no http {} in the configuration: nginx serves no HTTP by it"
        return Diagnosis((make_check("nginx http", "failure", why, "name nginx.conf itself with --nginx-conf"),), ())
    checks: list[Check] = list(_check_versions(config, folder))
    edits: list[Edit] = []
    count = 0
    for http in https:
        checks.append(_check_http(http, folder, edits))
        said = _app_header(http)
        for server in servers(http):
            places = list(places_of(server, http))
            for place in places:
                count += 1
                if count <= PLACES_MAX:
                    checks.append(_check_place(place, places, log, folder, edits, said))
    if not count:
        checks.append(make_check("nginx servers", "warning", "no server {} in http {}", f"add one; see {folder}"))
    if count > PLACES_MAX:
        checks.append(
            make_check(
                "nginx places",
                "warning",
                f"{count - PLACES_MAX} more servers and locations were not looked at",
                "check one server's file at a time with --nginx-conf",
            )
        )
    return Diagnosis(tuple(checks), tuple(edits))


def _check_versions(config: Config, folder: str) -> Iterator[Check]:
    """Return which include files another version of this program wrote."""
    other = {}
    for path, text in config.texts.items():
        if (stamp := _STAMP.match(text)) and int(stamp[1] or 0) != FILES_VERSION:
            other[path] = int(stamp[1] or 0)
    if not other:
        return
    files = ", ".join(other)
    if max(other.values()) > FILES_VERSION:
        yield make_check("nginx include files", "warning", f"newer than this program: {files}", "upgrade tailtrace")
    else:
        yield make_check(
            "nginx include files",
            "warning",
            f"older than this program: {files}",
            f"write them anew: `sudo tailtrace nginx {folder}`, with the options that you gave then; then reload nginx",
        )


def _app_header(http: Directive) -> str:
    """Return the name of the app's header as the log's variable has it."""
    for item in http.block or ():
        if item.name == "log_format" and item.args[:1] == ("tailtrace",):
            found = _SAID.search("".join(item.args[2:]))
            return found[1] if found else ""
    return ""


def servers(http: Directive) -> list[Directive]:
    """Return the servers of an `http {}`."""
    return [directive for directive in http.block or () if directive.name == "server"]


def places_of(server: Directive, http: Directive) -> Iterator[Place]:
    """Return a server and every place in it that a request can end in, outermost first.

    An `if` or `limit_except` is one only where it has something of its own to say.
    """
    names = next((item.args for item in server.block or () if item.name == "server_name"), ())
    listens = next((item.args for item in server.block or () if item.name == "listen"), ())
    title = f"server {(' '.join(names) or ' '.join(listens[:1]) or 'without a name')}"
    yield from _walk(server, title, _settings(http), None, server)


def _walk(
    directive: Directive,
    title: str,
    inherited: dict[str, tuple[Directive, ...]],
    outer_passes: Directive | None,
    outer_holder: Directive,
) -> Iterator[Place]:
    own = _settings(directive)
    own_passes = next((item for item in directive.block or () if item.name in _PASSES), None)
    nameless = directive.name in _NAMELESS
    passes = own_passes or (outer_passes if nameless else None)
    holder = outer_holder if nameless else directive
    if own_passes is not None or own or not nameless:
        yield Place(title, directive, holder, own, inherited, passes)
    for item in directive.block or ():
        if item.name in _INNER:
            inner_title = f"{title} › {item.name} {' '.join(item.args)}"
            yield from _walk(item, inner_title, inherited | own, passes, holder)


def _settings(directive: Directive) -> dict[str, tuple[Directive, ...]]:
    found: dict[str, tuple[Directive, ...]] = {}
    for item in directive.block or ():
        if item.name in _SETTERS:
            found[item.name] = (*found.get(item.name, ()), item)
    return found


def _check_http(http: Directive, folder: str, edits: list[Edit]) -> Check:
    """Return whether `tailtrace-http.conf` is in `http {}`, and is this version's."""
    name, file = "nginx http", f"{folder}/tailtrace-http.conf"
    block = http.block or ()
    formats = [item for item in block if item.name == "log_format" and item.args[:1] == ("tailtrace",)]
    starts = any(item.name == "map" and item.args[1:2] == (_TRACE_VARIABLE,) for item in block)
    if not formats or not starts:
        edits.append(Edit(http.file, http.line, add=f"include {file};"))
        return make_check(
            name,
            "failure",
            f"{http.file}:{http.line}: tailtrace-http.conf is not included: no trace is started",
            f"run `sudo tailtrace nginx {folder}`, then apply the patch below: include {file};",
        )
    escape, *pieces = formats[0].args[1:] or ("",)
    text = "".join(pieces).replace("\\t", "\t")
    if not is_tailtrace_format(escape.removeprefix("escape="), text):
        older = f"{escape} {text}" in TAILTRACE_FORMATS_BEFORE
        return make_check(
            name,
            "warning",
            f"{formats[0].file}:{formats[0].line}: log_format tailtrace is "
            + ("an older one: its lines say nothing of the app" if older else "not that of this version"),
            f"write it anew: `sudo tailtrace nginx {folder}`, then reload"
            + ("" if older else "; until then set TAILTRACE_LOG_FORMAT"),
        )
    return make_check(name, "ok", f"{formats[0].file} is included: each request starts a trace")


def _check_place(
    place: Place, places: Sequence[Place], log: str, folder: str, edits: list[Edit], app_header: str
) -> Check:
    """Put together what is to be said of one place."""
    is_server = place.directive.name == "server"
    if place.passes is not None and place.passes.args[-1].endswith(OWN_PATHS):
        return make_check(f"nginx {place.title}", "ok", f"{place.where}: hands on tailtrace's widget, no app")
    has_app = any(other.passes for other in places) if is_server else place.passes is not None
    said = [
        _headers(place, folder, edits),
        _answer(place, folder, app_header),
        _log(place, log, folder, has_app=has_app),
    ]
    if is_server:
        said.append(_view(place, folder, has_app=has_app))
        if any(status != "ok" and "tailtrace-server.conf" in cure for status, _, cure in said):
            edits.append(
                Edit(place.directive.file, place.directive.line, add=f"include {folder}/tailtrace-server.conf;")
            )
    return make_check(
        f"nginx {place.title}",
        worst(status for status, _, _ in said),
        f"{place.where}: {'; '.join(text for _, text, _ in said if text)}",
        "; ".join(dict.fromkeys(cure for _, _, cure in said if cure)),
    )


def _headers(place: Place, folder: str, edits: list[Edit]) -> tuple[Status, str, str]:
    """Return whether the trace headers reach the app."""
    if place.passes is None:
        return "ok", "" if place.directive.name == "server" else "no app behind it", ""
    if place.passes.name in _OTHER_PASS:
        return _other_headers(place, place.passes)
    sent = [item for item in place.effective("proxy_set_header") if len(item.args) == 2 and item.args[1] != ""]
    names = [item.args[0].lower() for item in sent]
    ours = [item for item in sent if _is_trace(item)]
    include = f"include {folder}/tailtrace-proxy.conf;"
    twice = sorted({name for name in names if name in HEADERS and names.count(name) > 1})
    if ours and not twice:
        return "ok", "trace headers reach the app", ""
    target = place.holder
    if not ours:
        edits.append(Edit(target.file, target.line, add=include))
        edits += [Edit(item.file, item.line, remove=True) for item in _own_lines(place, sent)]
        lost = place.own.get("proxy_set_header") and any(
            len(item.args) == 2 and _is_trace(item) for item in place.inherited.get("proxy_set_header", ())
        )
        why = (
            "its own proxy_set_header loses the trace headers from above" if lost else "no trace headers reach the app"
        )
        return "failure", why, f"{target.file}:{target.line}: add `{include}` (patch below)"
    repeats = [item for item in sent if item.args[0].lower() in twice and item not in ours]
    included = {item.args[0].lower() for item in sent if item.file != target.file}
    edits += [
        Edit(item.file, item.line, remove=True)
        for item in _own_lines(place, repeats)
        if item.args[0].lower() in included
    ]
    lines = ", ".join(f"{item.file}:{item.line}" for item in repeats)
    status: Status = "failure" if _BREAKS_WHEN_TWICE & set(twice) else "warning"
    return (
        status,
        f"sent twice: {', '.join(twice)}",
        f"keep the line of tailtrace-proxy.conf, remove the other: {lines}",
    )


def _answer(place: Place, folder: str, app_header: str) -> tuple[Status, str, str]:
    """Return whether the app is asked what it did, and whether what it says stays here."""
    sent = [item for item in place.effective("proxy_set_header") if len(item.args) == 2]
    if place.passes is None or place.passes.name != "proxy_pass" or not any(_is_trace(item) for item in sent):
        return "ok", "", ""
    where = f"{place.holder.file}:{place.holder.line}"
    if not any(item.args[0].lower() == _ASKS and item.args[1] == "1" for item in sent):
        return (
            "warning",
            "the app is not asked for route, time and error: they come by spans alone",
            f"{where}: include {folder}/tailtrace-proxy.conf of this version: `sudo tailtrace nginx {folder}`",
        )
    hidden = {item.args[0].lower() for item in place.effective("proxy_hide_header") if item.args}
    if app_header and app_header not in {name.replace("-", "_") for name in hidden}:
        name = "-".join(part.capitalize() for part in app_header.split("_"))
        return (
            "warning",
            f"what the app says of itself ({name}) reaches clients",
            f"{where}: add `proxy_hide_header {name};`",
        )
    around = place.inherited.get("proxy_hide_header", ()) if place.own.get("proxy_hide_header") else ()
    if lost := [item.args[0] for item in around if item.args and item.args[0].lower() not in hidden]:
        again = " ".join(f"proxy_hide_header {name};" for name in lost)
        return "warning", f"no longer hidden from clients: {', '.join(lost)}", f"{where}: add `{again}`"
    return "ok", "", ""


def _is_trace(item: Directive) -> bool:
    return item.args[0].lower() == "traceparent" and _hands_on(item.args[1])


def _hands_on(value: str) -> bool:
    return _TRACE_VARIABLE in value or value.startswith(_OWN_TRACE)


def _own_lines(place: Place, sent: Sequence[Directive]) -> list[Directive]:
    """Those that stand in the place's own file and set a name of ours: with the include it would be sent twice."""
    return [
        item
        for item in sent
        if item in place.own.get("proxy_set_header", ())
        and item.file == place.holder.file
        and item.args[0].lower() in HEADERS
    ]


def _other_headers(place: Place, passes: Directive) -> tuple[Status, str, str]:
    setter, name = _OTHER_PASS[passes.name]
    values = [item.args for item in place.effective(setter) if item.args[:1] == (name,)]
    if any(_hands_on(args[1]) for args in values if len(args) > 1):
        return "ok", f"{setter} hands the trace to the app", ""
    return (
        "warning",
        f"{passes.name}: the headers of tailtrace-proxy.conf work for proxy_pass only, so the app's span is not joined",
        f"{place.where}: add `{setter} {name} {_TRACEPARENT};` beside those that are there",
    )


def _log(place: Place, pattern: str, folder: str, *, has_app: bool) -> tuple[Status, str, str]:
    """Return whether requests are written where tailtrace reads them, in our format."""
    status, text, cure = _written(place, pattern, folder, has_app=has_app)
    if place.directive.name == "server" or place.own.get("access_log"):
        return status, text, cure
    return status, text, "see its server" if cure else ""


def _written(place: Place, pattern: str, folder: str, *, has_app: bool) -> tuple[Status, str, str]:
    is_server = place.directive.name == "server"
    logs = place.effective("access_log")
    include = f"include {folder}/tailtrace-server.conf;"
    cure = (
        f"{place.where}: add `{include}` (patch below)"
        if is_server
        else f"{place.where}: add the access_log line of {folder}/tailtrace-server.conf"
    )
    bad: Status = "failure" if has_app else "warning"
    if any(item.args[:1] == ("off",) for item in logs):
        return (bad if is_server else "warning"), "access_log off: its requests are not counted", cure
    targets: list[tuple[str, str, Directive | None]] = [(_path(item), _format(item), item) for item in logs] or [
        (_DEFAULT_LOG, "combined", None)
    ]
    read = [target for target in targets if reads(pattern, target[0])]
    good = [target for target in read if target[1] == "tailtrace"]
    if len(read) > 1:
        paths = ", ".join(path for path, _, _ in read)
        return (
            "warning",
            f"one request makes {len(read)} lines in what TAILTRACE_LOG reads: {paths}",
            "keep one of them",
        )
    if good:
        condition = next((arg for item in [good[0][2]] if item for arg in item.args if arg.startswith("if=")), "")
        if condition:
            return (
                "warning",
                f"requests are counted only where {condition[3:]} holds",
                "remove if=… from its access_log",
            )
        return "ok", f"requests are written to {good[0][0]}", ""
    if elsewhere := [path for path, name, _ in targets if name == "tailtrace"]:
        return (
            bad,
            f"requests are written to {elsewhere[0]}, which TAILTRACE_LOG ({pattern}) does not name",
            (f"set TAILTRACE_LOG to {elsewhere[0]}"),
        )
    path, name, _ = (read or targets)[0]
    return bad, f"access_log {path} is in format {name}, which has no trace id", cure


def _view(place: Place, folder: str, *, has_app: bool) -> tuple[Status, str, str]:
    """Return whether the server counts cards."""
    if any(item.name == "location" and item.args == ("=", VIEW_PATH) for item in place.directive.block or ()):
        return "ok", f"{VIEW_PATH} is there", ""
    if not has_app:
        return "ok", "", ""
    if any(_format(item) == "tailtrace" for item in place.own.get("access_log", ())):
        # The include would write each of its requests a second time.
        cure = f"{place.where}: add `location = {VIEW_PATH} {{ return 204; }}`"
        return "warning", f"no {VIEW_PATH}: cards are not counted", cure
    return (
        "warning",
        f"no {VIEW_PATH}: cards are not counted",
        (f"{place.where}: add `include {folder}/tailtrace-server.conf;` (patch below)"),
    )


def reads(pattern: str, path: str) -> bool:
    """Whether `TAILTRACE_LOG` names this log."""
    return any(fnmatch.fnmatchcase(path, part.strip()) for part in pattern.split(",") if part.strip())


def _path(log: Directive) -> str:
    return log.args[0] if log.args else ""


def _format(log: Directive) -> str:
    return log.args[1] if len(log.args) > 1 and "=" not in log.args[1] else "combined"
