"""The entry point: where the server's packages are missing, say which extra brings them."""

import atexit
import gc
import os
import sys

INTERRUPTED = 130
"""What a shell says of a program that SIGINT ended: 128 and the signal's number."""


def main() -> None:
    """Run the command line. A second SIGINT, or one while it loads, ends it without a traceback."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    # Plugins of pydantic are looked for in the metadata of every package that is installed. None is meant for us.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # No search for cycles among what is being loaded, until the command runs.
    gc.disable()
    try:
        from tailtrace_api.commands.cli import app  # noqa: PLC0415  # only here can its absence be told
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.startswith("tailtrace"):
            raise
        sys.stderr.write(
            f"tailtrace: {missing.name} is not installed. The commands need the server's packages:\n"
            "    pip install 'tailtrace[server]'\n"
        )
        sys.exit(1)
    # A command that ends needs no search for cycles in all that it loaded: it took 45 ms of an import's second.
    atexit.register(gc.freeze)
    app()


if __name__ == "__main__":
    main()
