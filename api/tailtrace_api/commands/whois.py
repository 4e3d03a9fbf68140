"""`tailtrace whois`: who the bridge takes an address for."""

import json
from collections import Counter
from typing import Annotated

import typer

from tailtrace_api.commands.options import IdentitiesOption, Json, checked_address

WAYS_MAX = 5


def whois(
    address: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address.")],
    *,
    identities: IdentitiesOption = None,
    as_json: Json = False,
) -> None:
    """Return who the bridge would take an address for, which provider said so, and how the log has the address."""
    from tailtrace_api.doctor.log import newest_lines
    from tailtrace_api.server import loading
    from tailtrace_bridge.identity.fronts import came_by
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts

    checked_address(address)
    chosen = settings.load(identities=identities)
    devices = parts.make_devices(chosen)
    if devices is not None:
        devices.start()
        devices.wait_loaded(parts.LOAD_DEVICES_S)
    with loading.quickly():  # of a file there may be 100,000
        chain = parts.make_identities(chosen, devices)
    identity = chain.identify(address)
    answers = chain.explain(address)
    if devices is not None:
        devices.close()
    lines = newest_lines(chosen.log, parts.line_parser(chosen))
    came = Counter(came_by(line) for line in lines if line.address == identity.address).most_common(WAYS_MAX)
    if as_json:
        providers = [list(answer) for answer in answers]
        typer.echo(json.dumps({"identity": identity._asdict(), "providers": providers, "came_by": dict(came)}))
        return
    for provider, text in answers:
        typer.echo(f"{provider:10} {text}")
    for how, count in came:
        typer.echo(f"{'log':10} {count} of the newest {len(lines)} lines: {how}")
