"""What a request was for. Pure: the first row that fits decides.

| a request | is | why |
|---|---|---|
| `/_tailtrace/view`, answered 204, that names a card | CARD | the dashboard says that someone looks at a card |
| for a health path, or by a monitor (kube-probe, ELB, UptimeRobot …) | HEALTH | a machine asks whether we live |
| whose target is no path (TLS bytes, `CONNECT host:443`) | BOT | no client of the app writes that |
| for what scanners look for (`/.env`, `/wp-login.php`), in vain: no 2xx, 304 or route | BOT | whatever its agent |
| by a crawler or scanner, as its agent says | BOT | |
| for a path below one of `TAILTRACE_STATIC_PATHS` | STATIC | |
| answered by a route of the app for that very file: `/tiles/{z}/{x}/{y}.png` | APP | the app made it |
| for a file (`.css`, `/static/…`), or a `/_tailtrace/` path without a card | STATIC | a part of a page |
| any other | APP | |

curl, wget, httpx and python-requests are APP: on a tailnet a person, or a job that a person wrote, runs them. So is an
empty agent: the common log has none.
"""

import re
from functools import lru_cache

from tailtrace_bridge.core.records import Access, Traffic

CACHE_ENTRIES_MAX = 8192
"""Of paths, and of agents; the parser cuts both, so the caches stay under some megabytes."""

HEALTH_PATHS = frozenset(
    {"/health", "/healthz", "/healthcheck", "/_health", "/ready", "/readyz", "/live", "/livez", "/ping", "/metrics"}
    | {"/nginx_status", "/stub_status"}
)
NOT_MODIFIED = 304
STATIC_PREFIXES = ("/static/", "/assets/", "/_next/static/", "/_tailtrace/")
STATIC_EXTENSIONS = frozenset(
    {"css", "js", "mjs", "map", "wasm", "webmanifest"}
    | {"ico", "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "bmp", "mp3", "mp4", "webm", "ogg"}
    | {"woff", "woff2", "ttf", "otf", "eot"}
)
_LOOKED_AT = frozenset({Traffic.APP, Traffic.STATIC})
"""What a path may seem to be that scanners ask for."""
_STATIC_FILES = frozenset({"/robots.txt", "/sitemap.xml", "/manifest.json"})

# Both look at an agent in lower case: of words in one case, `re` tries only where one of their first letters stands.
_MONITOR = re.compile(
    r"kube-probe|elb-healthchecker|googlehc|consul health|uptime|pingdom|statuscake|blackbox|prometheus|nagios"
    r"|check_http|healthcheck|site24x7|datadog|zabbix"
)
# A crawler's name ends in `bot` before a version or a bracket. `CUBOT …` and `M bot Tab` are people's devices.
_BOT = re.compile(
    r"bot(?<!cubot)(?=[/;),-]|$)|crawl|spider|slurp|facebookexternalhit|mediapartners|feedfetcher|headless"
    r"|masscan|zgrab|nmap|nikto|sqlmap|nuclei|censys|expanse|l9explore|gobuster|dirbuster|wpscan"
)


_PROBE = re.compile(
    r"/\.(?:env|git|svn|hg|aws|ssh|vscode|docker|ds_store|htaccess|htpasswd)(?:[./_-]|$)"
    r"|/(?:wp-(?:login|admin|content|includes|json|config|cron)|wordpress|xmlrpc\.php|wlwmanifest\.xml)(?:[/.]|$)"
    r"|/(?:phpmyadmin|pma|phpinfo|adminer|cgi-bin|boaform|hnap1|jmx-console|solr|_ignition|telescope)(?:[/.]|$)"
    r"|/vendor/phpunit|/actuator(?:/|$)|/owa/|/autodiscover/|/(?:etc|current_config)/(?:passwd|shadow)|/eval-stdin\.php|/shell\.php"
    r"|/(?:config|backup|dump|db|database|credentials|secrets?)\.(?:json|ya?ml|php|sql|zip|tar|gz|bak|ini|env)(?:\.gz)?$",
    re.IGNORECASE,
)
"""What no page of an app links to, and scanners ask every host for."""


def classify(
    access: Access,
    health_paths: frozenset[str] = HEALTH_PATHS,
    static_paths: tuple[str, ...] = (),
    route: str = "",
) -> Traffic:
    """Return what the request was for. `health_paths` have no slash at their end, `route` is what the app reported."""
    return TOGETHER[of_request(access, health_paths, static_paths, route), of_agent(access.user_agent)]


def of_request(
    access: Access,
    health_paths: frozenset[str] = HEALTH_PATHS,
    static_paths: tuple[str, ...] = (),
    route: str = "",
) -> Traffic:
    """Return what it was for as far as the request tells, whoever sent it."""
    if access.card and access.status == 204:
        return Traffic.CARD
    found = _of_path(access.path, health_paths)
    is_in_vain = not route and not 200 <= access.status < 300 and access.status != NOT_MODIFIED
    if is_in_vain and found in _LOOKED_AT and _is_probe(access.path):
        return Traffic.BOT
    if found in _LOOKED_AT and access.path.startswith(static_paths):
        return Traffic.STATIC
    return Traffic.APP if route and found is Traffic.STATIC and is_of_file(route, access.path) else found


def is_of_file(route: str, path: str) -> bool:
    """Return whether a route is of that very file, and no folder that the app serves files from (`/static`)."""
    last = route.rpartition("/")[2]
    return "{" in last or last == path.rpartition("/")[2]


def static_extension(path: str) -> str:
    """Return the extension of a static file, or an empty string."""
    extension = path[path.rfind(".") + 1 :].lower()
    return extension if extension in STATIC_EXTENSIONS and "." in path else ""


# Two caches: paths and agents are few, their pairs are many.
@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _of_path(path: str, health_paths: frozenset[str]) -> Traffic:
    if (path.rstrip("/") or "/") in health_paths:
        return Traffic.HEALTH
    if not path.startswith("/"):
        return Traffic.BOT
    if path.startswith(STATIC_PREFIXES) or path in _STATIC_FILES or static_extension(path):
        return Traffic.STATIC
    return Traffic.APP


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _is_probe(path: str) -> bool:
    return _PROBE.search(path) is not None


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def of_agent(agent: str) -> Traffic:
    """Return what it was for as far as its sender tells; APP where nothing speaks against it."""
    words = agent.lower()
    if _MONITOR.search(words):
        return Traffic.HEALTH
    return Traffic.BOT if _BOT.search(words) else Traffic.APP


TOGETHER = {
    (by_request, by_agent): by_request
    if by_request in {Traffic.CARD, Traffic.HEALTH} or by_agent is Traffic.APP
    else by_agent
    for by_request in Traffic
    for by_agent in Traffic
}
"""What a request was for, of what it tells and what its sender tells."""
