"""The one table of settings: environment, `tailtrace.toml`, flags, docs and checks all come from here.

A flag of the command line beats the environment, the environment beats `tailtrace.toml` in the working folder, and
that beats the default. `markdown()` writes `docs/settings.md`; a test compares the two.
"""

import json
import logging
import os
import re
import stat
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.text import quoted
from tailtrace_bridge.settings import messages
from tailtrace_bridge.settings.alert_rules import AlertRule, check_names, quiet_hours
from tailtrace_bridge.settings.derived import TAILSCALE_SOCKET, Derived, environment_name, split_listen, unix_path

SETTINGS_FILE = "tailtrace.toml"
OTHER_VARIABLES = frozenset(
    {
        "TAILTRACE_NGINX",
        "TAILTRACE_OTELCOL",
        "TAILTRACE_REQUIRE",
        "TAILTRACE_RESPONSE_HEADER",
        "TAILTRACE_SHARED_DATA",
        "TAILTRACE_UNSAMPLED_SLOW_MS",
        "TAILTRACE_UNSAMPLED_SPANS",
    }
)
"""What the demo, the tests and a traced app read; no settings of the server."""

ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
"""As a browser writes it (RFC 6454 section 6.2): lower case, no path, the port only where it is not the scheme's."""

_TWO_NAMES = re.compile(r"""[\s;"]|^'""")
_TWO_PATHS = re.compile(r"[\s;]/")
_JSON_LIST = re.compile(r"\s*\[\s*[\]\"]")

_LOGGER = logging.getLogger(__name__)
SOCKET_PATH_BYTES_MAX = 107
"""`sun_path` of Linux less its end: https://man7.org/linux/man-pages/man7/unix.7.html"""


def _standard(field: str) -> AliasChoices:
    """Name a setting that the field's tools share: it has no prefix; in `tailtrace.toml` it goes by its plain name."""
    return AliasChoices(environment_name(field), field)


def _names(value: object) -> object:
    """`a,b` → both. What begins as JSON does is read as JSON, which may hold any name.

    Raises ValueError where blanks, lines, semicolons or quotes part names: taken for one name they would match
    nothing, silently.
    """
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith(("[", '"', "{")):
        names = [name for part in value.split(",") if (name := part.strip())]
        for name in names:
            if _TWO_NAMES.search(name):
                example = json.dumps([name], ensure_ascii=False)
                raise ValueError(
                    f"{quoted(name)} is no single name; write the names with commas: one,two (or, where one is "
                    f"written so, as JSON: {quoted(example)[1:-1]})"
                )
        return names
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{quoted(value)} is no JSON; write the names with commas: one,two") from None


def _joined(value: object) -> object:
    """Return the same as one text. Paths may have blanks; two of them are told by the second's `/`."""
    if isinstance(value, str) and _JSON_LIST.match(value):
        value = _names(value)
    names = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else None
    if names is None:
        return value
    names = [str(name).strip() for name in names]
    for name in names:
        if _TWO_PATHS.search(name):
            raise ValueError(f"{quoted(name)} is no single path; write the paths with commas: /one.log,/two.log")
    return ",".join(filter(None, names))


def _json(value: object, info: ValidationInfo) -> object:
    """Read what a variable has, as JSON; of the file it is a table already. Nothing is none."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value if value.strip() else EMPTY[str(info.field_name)])
    except (ValueError, RecursionError):
        raise ValueError(messages.no_json(str(info.field_name), value)) from None


def _together(value: object) -> object:
    """Make of a list of `tailtrace.toml` one text, as a variable has it."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _path(value: object) -> object:
    """Nothing is none: so a variable is written that a composed environment leaves empty."""
    return None if isinstance(value, str) and not value.strip() else value


Names = Annotated[list[str], NoDecode, BeforeValidator(_names)]
"""A list: with commas, as JSON, or a list of `tailtrace.toml`."""
Joined = Annotated[str, BeforeValidator(_joined)]
"""The same, kept as one text."""
FilePath = Annotated[Path | None, BeforeValidator(_path)]
EMPTY = {"features": "{}", "alerts": "[]"}
"""What is read as JSON, and as what it has nothing."""


class Settings(Derived, BaseSettings):
    """Everything that a user can set. Each description is one row of `docs/settings.md`."""

    model_config = SettingsConfigDict(
        env_prefix="TAILTRACE_", toml_file=SETTINGS_FILE, extra="forbid", populate_by_name=True
    )

    store: Annotated[str, Field(description="Where rows are kept: `sqlite:PATH` or `influxdb`.")] = (
        "sqlite:tailtrace.db"
    )
    log: Annotated[Joined, Field(description="The access log to follow: a path or a glob; several with commas.")] = (
        "/var/log/nginx/tailtrace.log"
    )
    log_format: Annotated[
        str, Field(description="`auto`, `tailtrace`, `combined`, `common`, or an nginx `log_format` string.")
    ] = "auto"
    checkpoint: Annotated[
        Path,
        Field(
            description="The file that holds how far the log was read: its folder must be there; for one bridge each."
        ),
    ] = Path("tailtrace.checkpoint.json")
    identities: Annotated[
        FilePath, Field(description="A TOML or JSON file that names addresses: address or CIDR → user, device.")
    ] = None
    listen: Annotated[
        str,
        Field(
            description="Where the API listens: `HOST:PORT`, beyond loopback it asks who is there, see "
            "`TAILTRACE_ACCESS`; or `unix:PATH`, for a proxy of this machine."
        ),
    ] = "127.0.0.1:8470"
    hosts: Annotated[
        Names,
        Field(description="More names that the API may be asked by (Host header), such as `tailtrace.example.ts.net`."),
    ] = []
    cors_origins: Annotated[
        Names,
        Field(
            description="Other origins whose pages may show the widget: `https://intranet.example.ts.net`. "
            "They read `/analytics/widget` and nothing else."
        ),
    ] = []
    bridge_listen: Annotated[
        str,
        Field(description="Where `tailtrace bridge` shows health and counters. Beyond loopback: `TAILTRACE_ACCESS`."),
    ] = "127.0.0.1:8471"
    otlp_listen: Annotated[
        str,
        Field(description="Where apps send their spans (OTLP over HTTP). Beyond loopback they send a token."),
    ] = "127.0.0.1:4318"
    access: Annotated[
        Joined,
        Field(
            description="How callers are known, with commas: `local` (who works on this machine: sees all), `token` "
            "(`tailtrace token`), `whois` (people of the tailnet, who see their own; admins see all)."
        ),
    ] = "local,token"
    trust_loopback: Annotated[
        bool,
        Field(
            description="Take every connection from loopback for this machine's own also where nothing proves it: in "
            "a container that shares its network, or where a tailscaled may be near that cannot be asked. The risk: "
            "where that one runs without TUN, every peer of the tailnet is an admin. Where tailscaled itself says "
            "that it does, this counts for nothing."
        ),
    ] = False
    trusted_proxies: Annotated[
        Names,
        Field(
            description="Proxies before the API whose `X-Forwarded-For` is believed: addresses, CIDR networks, `unix:` "
            "(whoever may open the socket of `TAILTRACE_LISTEN=unix:PATH`)."
        ),
    ] = []
    admins: Annotated[Names, Field(description="Logins that see all.")] = []
    admins_file: Annotated[
        FilePath, Field(description="A file with more such logins, one on each line; read anew when it changes.")
    ] = None
    admin_capability: Annotated[
        str,
        Field(
            description="The capability that a grant of the tailnet's ACL gives to who sees all.",
            pattern="^[a-z0-9.-]+/[A-Za-z0-9/._-]+$",
        ),
    ] = "tailtrace.dev/cap/admin"
    tokens: Annotated[
        FilePath,
        Field(
            description="The file that keeps tokens, hashed; empty is `tailtrace.tokens.json` beside the checkpoint."
        ),
    ] = None
    api_token: Annotated[
        SecretStr | None, Field(description="The token with which `tailtrace mcp --url` asks an API.")
    ] = None
    api_token_file: Annotated[FilePath, Field(description="A file that holds that token.")] = None
    requests_per_s: Annotated[
        int,
        Field(
            description="Requests that one address may make in a second, four times as many at once; 0: no limit.", ge=0
        ),
    ] = 100
    pseudonyms: Annotated[
        bool,
        Field(
            description="Store pseudonyms for users, devices and addresses, made with the key; not the other way back."
        ),
    ] = False
    pseudonyms_key: Annotated[
        SecretStr | None,
        Field(description="The secret that pseudonyms are made with; another makes others. 16 characters or more."),
    ] = None
    pseudonyms_key_file: Annotated[FilePath, Field(description="A file that holds that secret.")] = None
    openapi: Annotated[
        FilePath, Field(description="The app's `openapi.json`: routes and feature names for lines without a span.")
    ] = None
    features: Annotated[
        dict[str, str],
        NoDecode,
        BeforeValidator(_json),
        Field(
            description="Names of features: route → name, and of cards: `card=NAME` → name. A table in "
            "`tailtrace.toml`, else JSON.",
            max_length=2000,
        ),
    ] = {}
    health_paths: Annotated[Names, Field(description="More paths of health checks, kept out of usage.")] = []
    static_paths: Annotated[
        Names,
        Field(
            description="Beginnings of paths of static files, kept out of usage though the app answers them, such as "
            "`/ui/`."
        ),
    ] = []
    timezone: Annotated[
        str, Field(description="Zone of peak hours, and of log times that name none (IANA name, `Europe/Madrid`).")
    ] = "UTC"
    retention_days: Annotated[
        int,
        Field(
            description="Rows older than this are removed, hourly rollups stay; 0 keeps all. What is as old as rows "
            "that went is not stored any more.",
            ge=0,
            le=36500,
        ),
    ] = 0
    rollup_retention_days: Annotated[
        int, Field(description="How long InfluxDB keeps the rollups; 0 keeps all.", ge=0, le=36500)
    ] = 0
    distinct_max: Annotated[
        int,
        Field(
            description="So many addresses without a name, and so many user agents, are kept apart; more are "
            "`__other__`. People and devices always are. InfluxDB: addresses, since 30 days before the bridge started.",
            ge=1,
            le=100_000_000,
        ),
    ] = 100_000
    source: Annotated[
        str,
        Field(
            description="The name of this bridge in InfluxDB, another for each that writes there; empty is the host's.",
            max_length=128,
        ),
    ] = ""
    influxdb_v2_url: Annotated[
        str,
        Field(
            description="Where InfluxDB is, for `TAILTRACE_STORE=influxdb`.",
            validation_alias=_standard("influxdb_v2_url"),
            pattern="^https?://[^/@]+(/.*)?$",
        ),
    ] = "http://127.0.0.1:8086"
    influxdb_v2_org: Annotated[
        str,
        Field(
            description="InfluxDB's organization, by name.",
            validation_alias=_standard("influxdb_v2_org"),
        ),
    ] = "tailtrace"
    influxdb_v2_token: Annotated[
        SecretStr | None,
        Field(
            description="A token that may read and write the buckets; `user:password` for InfluxDB 1.8.",
            validation_alias=_standard("influxdb_v2_token"),
        ),
    ] = None
    influxdb_v2_token_file: Annotated[
        FilePath,
        Field(
            description="A file that holds that token.",
            validation_alias=_standard("influxdb_v2_token_file"),
        ),
    ] = None
    influxdb_v2_bucket: Annotated[
        str,
        Field(
            description="The bucket of the rows; the rollups go to that name with `_rollups` behind it.",
            validation_alias=_standard("influxdb_v2_bucket"),
            pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        ),
    ] = "tailtrace"
    traces_bucket: Annotated[
        str,
        Field(
            description="The bucket where the collector keeps raw spans; `tailtrace erase` empties it of a person's.",
            pattern="^[A-Za-z0-9_.-]{0,100}$",
        ),
    ] = "traces"
    traces_retention_hours: Annotated[
        int,
        Field(
            description="How long that bucket keeps them: then the bridge makes it and sees to its retention. 0: it "
            "does not touch it.",
            ge=0,
            le=87_600,
        ),
    ] = 0
    collector_metrics_url: Annotated[
        str,
        Field(
            description="The collector's `/metrics`, such as `http://127.0.0.1:8888/metrics`: then `/ready` of the "
            "bridge and `tailtrace doctor` say when InfluxDB refuses its raw spans. Empty: nobody asks.",
            pattern=r"^(https?://[^/@\s[:cntrl:]]+/[^\s[:cntrl:]]*)?$",
            max_length=500,
        ),
    ] = ""
    export_endpoint: Annotated[
        str | None,
        Field(
            description="An OTLP endpoint (HTTP) that gets nginx's span of each request, with the person on it: "
            "`https://otel.example.com:4318`. Empty: nothing leaves."
        ),
    ] = None
    export_headers: Annotated[
        SecretStr | None,
        Field(description="Headers for it, such as a token: `key=value`, several with commas, values percent-encoded."),
    ] = None
    export_headers_file: Annotated[FilePath, Field(description="A file that holds these headers.")] = None
    export_certificate: Annotated[
        FilePath, Field(description="A PEM file of the authorities that its certificate is checked against.")
    ] = None
    export_service: Annotated[
        str, Field(description="`service.name` of nginx in exported spans.", min_length=1, max_length=128)
    ] = "nginx"
    export_identity: Annotated[
        Literal["names", "pseudonyms", "none"],
        Field(
            description="Who is on an exported span: `names` as they are stored, `pseudonyms` made with "
            "`TAILTRACE_PSEUDONYMS_KEY`, or `none`: neither user, device nor address."
        ),
    ] = "names"
    export_paths: Annotated[
        bool, Field(description="Whether exported spans have `url.path`, without query string; else the route alone.")
    ] = True
    export_agents: Annotated[bool, Field(description="Whether exported spans have `user_agent.original`.")] = True
    export_metrics_s: Annotated[
        int,
        Field(
            description="Every so many seconds the endpoint also gets `http.server.request.duration` by route, method "
            "and status; 0: it does not.",
            ge=0,
            le=3600,
        ),
    ] = 0
    traces_max_mb: Annotated[
        int,
        Field(
            description="How many MiB of traces the store keeps, in InfluxDB of each bridge; the oldest go first; 0: "
            "none.",
            ge=0,
            le=100_000,
        ),
    ] = 64
    traces_per_minute: Annotated[
        int, Field(description="How many traces of one endpoint are kept in one minute.", ge=1, le=10_000)
    ] = 10
    traces_one_in: Annotated[
        int,
        Field(
            description="Of the requests that nothing is wrong with, the trace of one in so many is kept, by endpoint, "
            "the first among them; 0: of none.",
            ge=0,
        ),
    ] = 1000
    traces_always: Annotated[
        Names,
        Field(
            description="Whose traces are kept whatever they are: `user:ana@example.com`, `endpoint:/items/{item_id}`."
        ),
    ] = []
    traces_messages: Annotated[
        bool,
        Field(
            description="Keep what exceptions say (`exception.message`, scrubbed). It may quote people's data; else "
            "class and stack are kept."
        ),
    ] = False
    trace_url: Annotated[
        str,
        Field(
            description="Where another tracing backend shows a trace, for links: "
            "`https://jaeger.example.com/trace/{trace_id}`.",
            pattern=r"^(https?://[^/@\s[:cntrl:]]+/[^\s[:cntrl:]]*\{trace_id\}[^\s[:cntrl:]]*)?$",
            max_length=500,
        ),
    ] = ""
    span_wait_ms: Annotated[
        int, Field(description="How long a line waits for the span of its app.", ge=0, le=60_000)
    ] = 6000
    poll_ms: Annotated[
        int, Field(description="How often the log is looked at; a busy one four times as often.", ge=10, le=10_000)
    ] = 200
    lang: Annotated[
        str,
        Field(
            description="Language of what `tailtrace report` and the MCP tools say, and of the dashboard where a "
            "browser prefers neither: `en` or `es`.",
            pattern="^(en|es)$",
        ),
    ] = "en"
    mcp_scope: Annotated[
        str,
        Field(
            description="What a caller of `/mcp` sees: `all` that their role may, or `own`: only their own, also of an "
            "admin.",
            pattern="^(all|own)$",
        ),
    ] = "all"
    alerts: Annotated[
        list[AlertRule],
        NoDecode,
        BeforeValidator(_json),
        Field(description="Rules: tables `[[alerts]]` in `tailtrace.toml`, see [alerts](alerts.md); else JSON."),
    ] = []
    alert_urls: Annotated[
        SecretStr | None,
        BeforeValidator(_together),
        Field(description="Where alerts go: apprise URLs, several with commas."),
    ] = None
    alert_urls_file: Annotated[FilePath, Field(description="A file that holds these URLs, one a line.")] = None
    alert_quiet: Annotated[
        str, Field(description="Hours in which alerts are held back, `22:00-07:00`, in `TAILTRACE_TIMEZONE`.")
    ] = ""
    alert_every_s: Annotated[int, Field(description="How often alerts are judged, seconds.", ge=1, le=60)] = 30
    alert_state: Annotated[
        FilePath,
        Field(
            description="The file that holds which alerts fire, and what is to be sent; empty is "
            "`tailtrace.alerts.json` beside the checkpoint."
        ),
    ] = None
    alerts_here: Annotated[
        bool, Field(description="Whether this bridge judges the alerts: of several on one store, only one may.")
    ] = True
    monthly_report: Annotated[
        bool,
        Field(description="Send the report of the last month on the first, at 8, to where alerts go."),
    ] = False
    public_url: Annotated[
        str,
        Field(
            description="Where people find the dashboard; alerts link to it.",
            pattern=r"^(https?://[^/@\s[:cntrl:]]+(/[^\s[:cntrl:]]*)?)?$",
            max_length=500,
        ),
    ] = ""
    tailscale_socket: Annotated[
        Path,
        BeforeValidator(lambda value: TAILSCALE_SOCKET if value == "" else value),
        Field(
            description="The socket of tailscaled's LocalAPI.",
            validation_alias=_standard("tailscale_socket"),
        ),
    ] = TAILSCALE_SOCKET
    serve_headers: Annotated[
        bool,
        Field(
            description="Believe `Tailscale-User-Login` of a request that comes from loopback: only where nginx can be "
            "reached through `tailscale serve` and no other way."
        ),
    ] = False
    serve_proxies: Annotated[
        Names,
        Field(
            description="More proxies whose `Tailscale-User-Login` is believed: addresses, CIDR networks, `unix:`, "
            "such as the pods of Tailscale's Kubernetes operator. Each must remove that header from what others send."
        ),
    ] = []
    control: Annotated[
        str,
        Field(
            description="Whose control API to ask for devices: `tailscale` or `headscale`; empty finds out by key and "
            "URL. Asked only where there is a key.",
            pattern="^(tailscale|headscale|)$",
        ),
    ] = ""
    control_stale_s: Annotated[
        int,
        Field(
            description="How old, in seconds, a list of devices may be and still name people while the control API "
            "is out of reach.",
            ge=0,
            le=7 * 86_400,
        ),
    ] = 3600
    tailscale_api_key: Annotated[
        SecretStr | None,
        Field(
            description="A key of the control API (`tskey-api-…`, or one of Headscale's).",
            validation_alias=_standard("tailscale_api_key"),
        ),
    ] = None
    tailscale_api_key_file: Annotated[
        FilePath,
        Field(
            description="A file that holds that key.",
            validation_alias=_standard("tailscale_api_key_file"),
        ),
    ] = None
    tailscale_oauth_client_id: Annotated[
        str,
        Field(
            description="An OAuth client of the tailnet, instead of a key; scope `devices:core:read`.",
            validation_alias=_standard("tailscale_oauth_client_id"),
        ),
    ] = ""
    tailscale_oauth_client_id_file: Annotated[
        FilePath,
        Field(
            description="A file that holds the client's id.",
            validation_alias=_standard("tailscale_oauth_client_id_file"),
        ),
    ] = None
    tailscale_oauth_client_secret: Annotated[
        SecretStr | None,
        Field(
            description="The secret of that client (`tskey-client-…`).",
            validation_alias=_standard("tailscale_oauth_client_secret"),
        ),
    ] = None
    tailscale_oauth_client_secret_file: Annotated[
        FilePath,
        Field(
            description="A file that holds that secret.",
            validation_alias=_standard("tailscale_oauth_client_secret_file"),
        ),
    ] = None
    tailnet: Annotated[
        str,
        Field(
            description="The tailnet to ask about; `-` is the key's own.",
            validation_alias=_standard("tailnet"),
            min_length=1,
        ),
    ] = "-"
    tailscale_api_url: Annotated[
        str,
        Field(
            description="Where the control API is; for Headscale its own URL.",
            validation_alias=_standard("tailscale_api_url"),
            pattern="^https?://[^/@]+(/.*)?$",
        ),
    ] = "https://api.tailscale.com"

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{quoted(value)} is no IANA time zone; write one like Europe/Madrid") from None
        return value

    _names_differ = field_validator("alerts")(check_names)
    _quiet_is_hours = field_validator("alert_quiet")(quiet_hours)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{quoted(origin)} is no origin: write each page's scheme, host and port, such as "
                    "https://intranet.example.ts.net or http://localhost:3000, without a path and without `*`"
                )
        return value

    @field_validator("traces_always")
    @classmethod
    def _are_wishes(cls, value: list[str]) -> list[str]:
        for wish in value:
            kind, colon, name = wish.partition(":")
            if kind not in {"user", "endpoint"} or not colon or not name:
                raise ValueError(
                    f"{quoted(wish)} names nothing; write user:ana@example.com or endpoint:/items/{{item_id}}"
                )
        return value

    @field_validator("trusted_proxies", "serve_proxies")
    @classmethod
    def _are_peers(cls, value: list[str]) -> list[str]:
        for peer in value:
            try:
                is_all = peer != "unix:" and ip_network(peer, strict=False).prefixlen == 0
            except ValueError:
                raise ValueError(
                    f"{quoted(peer)} is neither an address nor a network; write 127.0.0.1, 10.42.0.0/16 or unix:"
                ) from None
            if is_all:
                raise ValueError(
                    f"{quoted(peer)} is everybody, and whoever is believed may be anybody; name the proxy alone"
                )
        return value

    @field_validator("checkpoint", "tokens", "alert_state")
    @classmethod
    def _is_replaceable(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Refuse a device or a pipe: these files are written anew, and it would be gone."""
        if value is None:
            return None
        like = f"write one like /var/lib/tailtrace/{info.field_name}.json"
        if not value.name:
            raise ValueError(f"{quoted(str(value))} is no file's name; {like}")
        if os.path.exists(value) and not os.path.isfile(value):  # noqa: PTH110, PTH113 - Path's raise where one may not look
            raise ValueError(f"{quoted(str(value))} is there and no file; {like}")
        return value

    @field_validator("listen", "bridge_listen", "otlp_listen")
    @classmethod
    def _is_address(cls, value: str, info: ValidationInfo) -> str:
        path = unix_path(value) if info.field_name == "listen" else None
        if path is None:
            split_listen(value)
        else:
            _check_socket(path)
        return value

    @field_validator("tailscale_socket")
    @classmethod
    def _is_socket(cls, value: Path) -> Path:
        _check_socket(value)
        return value

    @field_validator("influxdb_v2_url", "tailscale_api_url", "collector_metrics_url", "public_url", "trace_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_url = not value or (bool(parts.hostname) and parts.port != 0 and value.isascii() and " " not in value)
        except ValueError:
            is_url = False
        if not is_url:
            raise ValueError(f"{quoted(value)} is no address; write one like https://HOST:PORT/PATH")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take flags first, then environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def _check_socket(path: Path) -> None:
    """Raise ValueError where a path is longer than a socket can have."""
    if (length := len(os.fsencode(path))) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"{quoted(str(path))} has {length} bytes; a socket's path has {SOCKET_PATH_BYTES_MAX} at most")


def load(**flags: Any) -> Settings:
    """Read the settings; flags that are None were not given. Raises `SettingsError`, a line for each wrong setting."""
    known = {environment_name(name) for name in Settings.model_fields} | OTHER_VARIABLES
    for name in os.environ:
        if name.startswith("TAILTRACE_") and name not in known:
            meant = messages.meant(name, known, "settings")
            _LOGGER.warning("%s is no setting of tailtrace; %s", name, meant)
    _warn_of_writers()
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as wrong:
        lines = [_describe(error, given) for error in wrong.errors()]
        raise SettingsError("wrong settings (flags, environment or tailtrace.toml):\n  " + "\n  ".join(lines)) from None
    except OSError as unreadable:
        raise SettingsError(f"{SETTINGS_FILE}: {unreadable.strerror}; mend its mode, or move it away") from None
    except ValueError as unreadable:  # a TOML file that does not parse
        raise SettingsError(f"{SETTINGS_FILE}: {unreadable}; see docs/settings.md for the form of each") from None


def _warn_of_writers() -> None:
    """Whoever may write the file may name admins, and send alerts elsewhere."""
    try:
        mode = Path(SETTINGS_FILE).stat().st_mode
    except OSError:
        return
    if mode & stat.S_IWOTH:
        _LOGGER.warning("%s: anyone may write to it; run `chmod o-w %s`", SETTINGS_FILE, SETTINGS_FILE)


def _describe(error: ErrorDetails, flags: Mapping[str, Any]) -> str:
    """Return where a wrong setting stands, and what is wrong with it."""
    place = error["loc"]
    of_variable = {environment_name(field): field for field in Settings.model_fields}
    name = of_variable.get(str(place[0]), str(place[0])) if place else ""
    variable = environment_name(name) if name in Settings.model_fields else ""
    is_file = not variable or (name not in flags and variable not in os.environ)
    where = f"{SETTINGS_FILE}: {name}" if is_file else variable
    if name == "alerts" and len(place) > 1:  # [[alerts]] number 2 threshold
        rule = f"{'[[alerts]] ' if is_file else ''}number {int(place[1]) + 1}"
        where = " ".join([f"{SETTINGS_FILE if is_file else variable}: {rule}", *map(str, place[2:])])
    error["loc"] = (name, *place[1:])
    return f"{where}: {messages.describe(error, Settings.model_fields, is_file=is_file)}"


def markdown() -> str:
    """Write the page `docs/settings.md`."""
    head = (
        "# Settings\n\nMade from `tailtrace_bridge/settings/table.py` by `make docs`.\n\n"
        "A flag beats the environment, the environment beats `tailtrace.toml` in the working folder (same names in\n"
        "lower case, without `TAILTRACE_`), and that beats the default.\n\n"
        "Several of a kind stand with commas, `TAILTRACE_ADMINS=ana@example.com,ben@example.com`; in `tailtrace.toml`\n"
        'a list does too, `admins = ["ana@example.com", "ben@example.com"]`, and in the environment the same as JSON,\n'
        "which may hold names with blanks. What else might part two names is refused.\n\n"
        "The app's side reads the standard `OTEL_*` variables and nothing else.\n\n"
        "| environment | default | what it sets |\n|---|---|---|\n"
    )
    rows = [
        f"| `{environment_name(name)}` | {_default_text(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return head + "\n".join(rows) + "\n"


def _default_text(default: Any) -> str:
    return "" if default in (None, [], {}) else f"`{default}`"
