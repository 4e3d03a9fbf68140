"""`tailtrace erase`: forget a person."""

from typing import Annotated

import typer

from tailtrace_api.commands.options import Json, StoreOption, person_of


def erase(
    *,
    user: Annotated[str | None, typer.Option(help="Whom to forget: a login, also a former one.")] = None,
    device: Annotated[str | None, typer.Option(help="Or a device, by name.")] = None,
    address: Annotated[str | None, typer.Option(help="Or an IP address.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only show what would go.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Forget a person: requests, rollups, names, rejected lines. Shows what it would remove; --yes removes it."""
    from tailtrace_api.commands.privacy import run_erase
    from tailtrace_bridge.settings import table as settings

    run_erase(settings.load(store=store), person_of(user, device, address), is_dry=not yes, as_json=as_json)
