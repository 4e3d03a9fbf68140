"""`tailtrace token`: make, list and revoke. A token is printed once, when it is made; what is kept is its hash."""

import json
import secrets
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tailtrace_api.commands.options import Json

if TYPE_CHECKING:
    from tailtrace_api.access.tokens import Tokens

HELP = "Make, list or revoke tokens for the API, MCP and the OTLP receiver."
NameArgument = Annotated[str, typer.Argument(help="The token's name.")]
RoleOption = Annotated[
    Literal["member", "admin", "spans"],
    typer.Option(help="member (with --user), admin, or spans: may send spans only."),
]
UserOption = Annotated[str, typer.Option(help="Whose data a member's token shows: a login.")]


def create(name: NameArgument, *, role: RoleOption = "member", user: UserOption = "", as_json: Json = False) -> None:
    """Make a token and print it, this once."""
    from tailtrace_bridge.wiring.parts import clock_us

    tokens = _tokens()
    secret = tokens.create(name, role, user, random=secrets.token_urlsafe, now_us=clock_us())
    if as_json:
        typer.echo(json.dumps({"name": name, "role": role, "user": user or None, "token": secret}))
        return
    typer.echo(secret)
    typer.echo(f"Keep it now: it is shown this once. {tokens.path} has its hash.", err=True)


def list_(*, as_json: Json = False) -> None:
    """List the tokens: name, role, whose data, when made."""
    from tailtrace_api.answers.requests import iso

    shown = [
        {"name": one.name, "role": one.role, "user": one.user or None, "created": iso(one.created_us)}
        for one in _tokens().kept()
    ]
    if as_json:
        typer.echo(json.dumps({"tokens": shown}))
        return
    if not shown:
        typer.echo("no tokens; `tailtrace token create NAME --role admin` makes one")
    for one in shown:
        typer.echo(f"{one['name']}  {one['role']}  {one['user'] or '-'}  made {one['created']}")


def revoke(name: NameArgument, *, as_json: Json = False) -> None:
    """Revoke a token: from the next request on it opens nothing."""
    _tokens().revoke(name)
    typer.echo(json.dumps({"revoked": name}) if as_json else f"revoked {name}: it opens nothing any more")


def _tokens() -> "Tokens":
    from tailtrace_api.access.auth_methods import tokens_path
    from tailtrace_api.access.tokens import Tokens
    from tailtrace_bridge.settings import table as settings

    return Tokens(tokens_path(settings.load()))
