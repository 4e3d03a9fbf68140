"""`tailtrace serve`: the bridge and the API in one process."""

from tailtrace_api.commands.options import (
    CheckpointOption,
    FormatOption,
    IdentitiesOption,
    ListenOption,
    LogOption,
    OpenapiOption,
    OtlpOption,
    StoreOption,
)


def serve(
    *,
    log: LogOption = None,
    store: StoreOption = None,
    listen: ListenOption = None,
    otlp_listen: OtlpOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    checkpoint: CheckpointOption = None,
) -> None:
    """Run the bridge and the API in one process (embedded mode)."""
    from tailtrace_api.server import loading
    from tailtrace_bridge.core import interrupted

    interrupted.end_at_once()
    with loading.quickly("uvicorn"):
        from tailtrace_api.server.serve import serve as run
        from tailtrace_bridge.settings import table as settings

        run(
            settings.load(
                log=log,
                store=store,
                listen=listen,
                otlp_listen=otlp_listen,
                log_format=log_format,
                identities=identities,
                openapi=openapi,
                checkpoint=checkpoint,
            )
        )
