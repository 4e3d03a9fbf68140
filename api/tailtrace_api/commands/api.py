"""`tailtrace api`: answers from a store that a bridge fills."""

from tailtrace_api.commands.options import ListenOption, OpenapiOption, StoreOption


def api(
    *,
    store: StoreOption = None,
    listen: ListenOption = None,
    openapi: OpenapiOption = None,
) -> None:
    """Run the API alone, on the store that a bridge fills."""
    from tailtrace_api.server import loading
    from tailtrace_bridge.core import interrupted

    interrupted.end_at_once()
    with loading.quickly("uvicorn"):
        from tailtrace_api.server.serve import serve_api
        from tailtrace_bridge.settings import table as settings

        serve_api(settings.load(store=store, listen=listen, openapi=openapi))
