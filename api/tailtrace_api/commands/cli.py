"""The program `tailtrace`. Exit 0 done, 1 failed, 2 wrong use; each command imports what it needs when it runs.

A command is a file of its own here, and a line in `COMMANDS`; a group has a table of its own.
"""

import functools
import gc
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, ParamSpec

import typer

from tailtrace_api.commands import token
from tailtrace_api.commands.alert import alert
from tailtrace_api.commands.api import api
from tailtrace_api.commands.backup import backup
from tailtrace_api.commands.bridge import bridge
from tailtrace_api.commands.demo import demo
from tailtrace_api.commands.doctor import doctor
from tailtrace_api.commands.erase import erase
from tailtrace_api.commands.errors import errors
from tailtrace_api.commands.export import export
from tailtrace_api.commands.import_logs import import_logs
from tailtrace_api.commands.inspect_logs import inspect_logs
from tailtrace_api.commands.mark import mark
from tailtrace_api.commands.mcp import mcp
from tailtrace_api.commands.nginx import nginx
from tailtrace_api.commands.report import report
from tailtrace_api.commands.serve import serve
from tailtrace_api.commands.trace import trace
from tailtrace_api.commands.whois import whois
from tailtrace_api.server import loading
from tailtrace_api.terminal.console import Formatter, lines, note
from tailtrace_bridge.core.errors import BridgeError, FormatError, IdentityError, SettingsError

P = ParamSpec("P")

app = typer.Typer(
    name="tailtrace",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Who used what, when, how fast, and what broke: request analytics for FastAPI behind nginx on a tailnet.",
)
WRONG_USE = (SettingsError, FormatError, IdentityError)
"""What a user wrote is wrong: trying again does not help."""
Command = Callable[..., None]
COMMANDS: dict[str, Command] = {
    "serve": serve,
    "bridge": bridge,
    "api": api,
    "import": import_logs,
    "inspect": inspect_logs,
    "erase": erase,
    "export": export,
    "backup": backup,
    "report": report,
    "trace": trace,
    "errors": errors,
    "mark": mark,
    "whois": whois,
    "nginx": nginx,
    "doctor": doctor,
    "alert": alert,
    "mcp": mcp,
    "demo": demo,
}
"""In the order of `--help`."""
TOKEN_COMMANDS: dict[str, Command] = {
    "create": token.create,
    "link": token.link,
    "list": token.list_,
    "revoke": token.revoke,
}


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into a message and an exit code, and Ctrl-C into a quiet 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if not gc.isenabled():  # by `main`: a test calls this without
            loading.end()
        try:
            command(*args, **kwargs)
        except BridgeError as error:
            note(f"tailtrace: {lines(error)}", "red")
            raise typer.Exit(2 if isinstance(error, WRONG_USE) else 1) from None
        except PermissionError as error:
            said = (
                f"{error.filename}: {error.strerror}; run tailtrace as a user who may, or mend its mode or its folder's"
            )
            note(f"tailtrace: {lines(said)}", "red")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("tailtrace"))
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[  # noqa: ARG001 - eager: it has printed and ended before this runs
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[log])
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _add(commands: Mapping[str, Command], to: typer.Typer) -> None:
    for name, command in commands.items():
        to.command(name)(_reported(command))


_add(COMMANDS, app)
_token_app = typer.Typer(help=token.HELP, no_args_is_help=True, rich_markup_mode=None)
_add(TOKEN_COMMANDS, _token_app)
app.add_typer(_token_app, name="token")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
