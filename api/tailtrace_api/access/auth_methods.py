"""Makes of the settings what tells callers, and refuses to listen beyond loopback where nobody could be told apart."""

from pathlib import Path
from typing import TYPE_CHECKING

from tailtrace_api.access.callers import AUTH_METHODS, Admins, Callers
from tailtrace_api.access.sessions import Sessions
from tailtrace_api.access.tokens import Tokens
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.identity.proxies import Proxies
from tailtrace_bridge.identity.static_file import IdentityFile
from tailtrace_bridge.settings.derived import environment_name, split_listen, unix_path
from tailtrace_bridge.wiring.parts import (
    clock_us,
    loopback_of,
    make_pseudonyms,
    make_serve_proxies,
    monotonic_us,
    tailscale_socket,
)

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings

TOKENS_FILE = "tailtrace.tokens.json"


def tokens_path(settings: "Settings") -> Path:
    """Return where tokens are kept: where the setting says, else beside the checkpoint."""
    return settings.tokens or settings.checkpoint.with_name(TOKENS_FILE)


def make_sessions(settings: "Settings") -> Sessions:
    """Make what logs browsers in and out."""
    return Sessions(Tokens(tokens_path(settings)).file, clock_us)


def login_url(settings: "Settings") -> str:
    """Return where a browser logs in. Raises `SettingsError` where no link would lead to a login."""
    if "token" not in _auth_methods(settings):
        raise SettingsError(
            "TAILTRACE_ACCESS has no `token`, so nobody could log in: add it, here and where tailtrace serves"
        )
    if not settings.public_url and unix_path(settings.listen) is not None:
        raise SettingsError("TAILTRACE_PUBLIC_URL: say where people open the page, which listens on a socket")
    return f"{(settings.public_url or f'http://{settings.listen}').rstrip('/')}/login"


def make_callers(settings: "Settings") -> Callers:
    """Make what says who asks. Raises `IdentityError` where the file of identities cannot be read."""
    pseudonyms = make_pseudonyms(settings)
    return Callers(
        auth_methods=_auth_methods(settings),
        admins=Admins(settings.admins, settings.admins_file),
        capability=settings.admin_capability,
        tokens=Tokens(tokens_path(settings)),
        local_api=LocalApi(tailscale_socket(settings), clock=monotonic_us),
        clock=monotonic_us,
        file=None if settings.identities is None else IdentityFile(settings.identities, clock=monotonic_us),
        loopback=loopback_of(settings).look,
        trusted=make_trusted_proxies(settings),
        serve=make_serve_proxies(settings),
        as_stored=str if pseudonyms is None else pseudonyms.user,
        sessions=make_sessions(settings),
    )


def make_trusted_proxies(settings: "Settings") -> Proxies:
    """Make the proxies before the API whose `X-Forwarded-For` is believed."""
    return Proxies(settings.trusted_proxies)


def require_way(settings: "Settings", field: str) -> None:
    """Raise `SettingsError` where `field`, an address to listen on, is open to people that nothing tells apart."""
    address = getattr(settings, field)
    host, port = ("", 8470) if unix_path(address) is not None else split_listen(address)
    parsed = parse_address(host)
    if host == "localhost" or (parsed is not None and parsed.is_loopback):
        return
    auth_methods = _auth_methods(settings)
    tokens = Tokens(tokens_path(settings)).now() if "token" in auth_methods else ()
    name = environment_name(field)
    if field == "otlp_listen":
        if not any(token.role in {"spans", "admin"} for token in tokens):
            raise SettingsError(
                f"{name}: {address} is open to others, and an app could not be told from anybody else. Make a token, "
                "`tailtrace token create NAME --role spans`, and give it to the apps as OTEL_EXPORTER_OTLP_HEADERS; or "
                f"listen on 127.0.0.1:{port}"
            )
        return
    if "whois" in auth_methods or make_serve_proxies(settings) or any(token.role != "spans" for token in tokens):
        return
    raise SettingsError(
        f"{name}: {address} is open to others, and nothing says who may see what. Choose one or more:\n"
        "  TAILTRACE_ACCESS=local,token,whois   people of the tailnet; TAILTRACE_ADMINS names who sees all\n"
        "  TAILTRACE_TRUSTED_PROXIES   beside it, where people come through a proxy: whom it speaks for\n"
        "  tailtrace token create NAME --role admin   whoever has the token\n"
        f"or listen on 127.0.0.1:{port}, with ssh -L, or `tailscale serve` and TAILTRACE_SERVE_HEADERS=true, in front. "
        "docs/deployment.md says more"
    )


def _auth_methods(settings: "Settings") -> frozenset[str]:
    auth_methods = frozenset(word.strip() for word in settings.access.split(",") if word.strip())
    if unknown := sorted(auth_methods - set(AUTH_METHODS)):
        raise SettingsError(
            f"TAILTRACE_ACCESS: there is no method {unknown[0]!r}: write {', '.join(AUTH_METHODS)}, with commas"
        )
    return auth_methods
