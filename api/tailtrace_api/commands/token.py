"""`tailtrace token`: make, list and revoke. A token is printed once, when it is made; what is kept is its hash."""

import json
import secrets

import typer

from tailtrace_api.access.auth_methods import tokens_path
from tailtrace_api.access.tokens import Tokens
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.parts import clock_us

ACTIONS = ("create", "list", "revoke")


def run_token(settings: Settings, action: str, name: str | None, role: str, user: str, *, as_json: bool) -> None:
    """Do one action. Raises `TokensError`."""
    tokens = Tokens(tokens_path(settings))
    if action == "list":
        shown = [
            {"name": one.name, "role": one.role, "user": one.user or None, "created": iso(one.created_us)}
            for one in tokens.kept()
        ]
        if as_json:
            typer.echo(json.dumps({"tokens": shown}))
        for one in () if as_json else shown:
            typer.echo(f"{one['name']}  {one['role']}  {one['user'] or '-'}  made {one['created']}")
        return
    assert name is not None
    if action == "revoke":
        tokens.revoke(name)
        typer.echo(json.dumps({"revoked": name}) if as_json else f"revoked {name}: it opens nothing any more")
        return
    secret = tokens.create(name, role, user, random=secrets.token_urlsafe, now_us=clock_us())
    if as_json:
        typer.echo(json.dumps({"name": name, "role": role, "user": user or None, "token": secret}))
        return
    typer.echo(secret)
    typer.echo(f"Keep it now: it is shown this once. {tokens.path} has its hash.", err=True)
