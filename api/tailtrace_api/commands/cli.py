"""The program `tailtrace`. Exit 0 done, 1 failed, 2 wrong use; each command imports what it needs when it runs.

A command is a file of its own here, and a line in `COMMANDS`; a group has a table of its own. A file is loaded when its
command is asked for: all of them took a fifteenth of a small import.
"""

import functools
import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, ParamSpec

import typer
import typer.main
from typer.core import TyperGroup

from tailtrace_api.server import loading
from tailtrace_api.terminal.failed import exit_status
from tailtrace_api.terminal.log import log_to_stderr
from tailtrace_bridge.core import interrupted

P = ParamSpec("P")

Command = Callable[..., None]
COMMANDS = {
    "serve": "serve",
    "bridge": "bridge",
    "api": "api",
    "import": "import_logs",
    "inspect": "inspect_logs",
    "erase": "erase",
    "export": "export",
    "backup": "backup",
    "report": "report",
    "trace": "trace",
    "errors": "errors",
    "mark": "mark",
    "whois": "whois",
    "nginx": "nginx",
    "doctor": "doctor",
    "alert": "alert",
    "mcp": "mcp",
    "demo": "demo",
    "token": "token",
}
"""The file of each, in the order of `--help`. In it is a function of its name; of a group, a table `COMMANDS`."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _made(name, COMMANDS[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Program(TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Commands()  # type: ignore[assignment]  # nobody adds one to it


app = typer.Typer(
    cls=_Program,
    name="tailtrace",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Who used what, when, how fast, and what broke: request analytics for FastAPI behind nginx on a tailnet.",
)


def _made(name: str, file: str) -> Any:
    module = import_module(f"tailtrace_api.commands.{file}")
    group: dict[str, Command] = getattr(module, "COMMANDS", {})
    made = typer.Typer(name=name, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    if group:
        made.callback(help=module.HELP, no_args_is_help=True)(lambda: None)
    for each, command in (group or {name: getattr(module, file)}).items():
        made.command(each)(_reported(command))
    return typer.main.get_command(made)


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into a message and an exit code, and Ctrl-C into a quiet 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if not gc.isenabled():  # by `main`: a test calls this without
            loading.end()
        interrupted.raise_again()
        try:
            command(*args, **kwargs)
        except Exception as error:
            status = exit_status(error)
            if status is None:
                raise
            raise typer.Exit(status) from None
        except KeyboardInterrupt:
            raise typer.Exit(interrupted.INTERRUPTED) from None
        finally:
            interrupted.raise_again()

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
    log_to_stderr(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
