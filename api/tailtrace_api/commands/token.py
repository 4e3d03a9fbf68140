"""`tailtrace token`: make, list and revoke, and log a browser in.

A token is printed once, when it is made, and so is a link; what is kept is their hash.
"""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tailtrace_api.commands.options import Json
from tailtrace_bridge.store.values import DAY_US, MINUTE_US

if TYPE_CHECKING:
    from tailtrace_api.access.tokens import Tokens

HELP = "Make, list or revoke tokens for the API, MCP and the OTLP receiver, and login links for the page."
NameArgument = Annotated[str, typer.Argument(help="The token's name.")]
RoleOption = Annotated[
    Literal["member", "admin", "spans"],
    typer.Option(help="member (with --user), admin, or spans: may send spans only."),
]
UserOption = Annotated[str, typer.Option(help="Whose data a member's token shows: a login.")]


def create(name: NameArgument, *, role: RoleOption = "member", user: UserOption = "", as_json: Json = False) -> None:
    """Make a token and print it, this once."""
    from secrets import token_urlsafe

    from tailtrace_bridge.wiring.parts import clock_us

    tokens = _tokens()
    secret = tokens.create(name, role, user, random=token_urlsafe, now_us=clock_us())
    if as_json:
        typer.echo(json.dumps({"name": name, "role": role, "user": user or None, "token": secret}))
        return
    typer.echo(secret)
    typer.echo(f"Keep it now: it is shown this once. {tokens.path} has its hash.", err=True)


def link(
    name: NameArgument,
    *,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How long the link is good for.")] = 10,
    days: Annotated[int, typer.Option(min=1, max=90, help="How long the browser then stays logged in.")] = 30,
    as_json: Json = False,
) -> None:
    """Print a link that logs one browser in, once, as what the token may see. The page shows it, and logs out."""
    from secrets import token_urlsafe

    from tailtrace_api.access.auth_methods import login_url, make_sessions
    from tailtrace_bridge.settings import table

    settings = table.load()
    url = login_url(settings)
    secret = make_sessions(settings).link(
        name, life_us=minutes * MINUTE_US, session_us=days * DAY_US, random=token_urlsafe
    )
    if as_json:
        typer.echo(json.dumps({"name": name, "url": f"{url}#{secret}", "minutes": minutes, "days": days}))
        return
    typer.echo(f"{url}#{secret}")
    typer.echo(f"Good for one login within {minutes} minutes, which then lasts {days} days.", err=True)
    if not settings.public_url:
        typer.echo("TAILTRACE_PUBLIC_URL is not set: put what people open in place of the link's beginning.", err=True)


def list_(*, as_json: Json = False) -> None:
    """List the tokens: name, role, whose data, when made, and how many browsers are logged in with it."""
    from tailtrace_api.access.auth_methods import make_sessions
    from tailtrace_api.answers.requests import iso
    from tailtrace_bridge.settings import table

    sessions = make_sessions(table.load())
    shown = [
        {
            "name": one.name,
            "role": one.role,
            "user": one.user or None,
            "created": iso(one.created_us),
            "logged_in": sessions.count(one.name),
        }
        for one in _tokens().kept()
    ]
    if as_json:
        typer.echo(json.dumps({"tokens": shown}))
        return
    if not shown:
        typer.echo("no tokens; `tailtrace token create NAME --role admin` makes one")
    for one in shown:
        typer.echo(
            f"{one['name']}  {one['role']}  {one['user'] or '-'}  made {one['created']}  logged in {one['logged_in']}"
        )


def revoke(name: NameArgument, *, as_json: Json = False) -> None:
    """Revoke a token: from the next request on it opens nothing, and whoever logged in with it is logged out."""
    _tokens().revoke(name)
    typer.echo(json.dumps({"revoked": name}) if as_json else f"revoked {name}: it opens nothing any more")


def _tokens() -> "Tokens":
    from tailtrace_api.access.auth_methods import tokens_path
    from tailtrace_api.access.tokens import Tokens
    from tailtrace_bridge.settings import table as settings

    return Tokens(tokens_path(settings.load()))


COMMANDS = {"create": create, "link": link, "list": list_, "revoke": revoke}
