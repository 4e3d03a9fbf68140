"""`tailtrace bridge`: from the log and the spans to the store."""

from typing import Annotated

import typer

from tailtrace_api.commands.options import (
    CheckpointOption,
    FormatOption,
    IdentitiesOption,
    LogOption,
    OpenapiOption,
    OtlpOption,
    StoreOption,
)


def bridge(
    *,
    log: LogOption = None,
    store: StoreOption = None,
    bridge_listen: Annotated[
        str | None, typer.Option("--listen", help="Address of health and counters [TAILTRACE_BRIDGE_LISTEN].")
    ] = None,
    otlp_listen: OtlpOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    checkpoint: CheckpointOption = None,
) -> None:
    """Run the bridge alone: from the log and the spans to the store, no answers."""
    from tailtrace_api.commands.bare_bridge import become_bridge
    from tailtrace_bridge.core import interrupted

    interrupted.end_at_once()
    from tailtrace_bridge.settings import table as settings

    become_bridge(
        settings.load(
            log=log,
            store=store,
            bridge_listen=bridge_listen,
            otlp_listen=otlp_listen,
            log_format=log_format,
            identities=identities,
            openapi=openapi,
            checkpoint=checkpoint,
        )
    )
