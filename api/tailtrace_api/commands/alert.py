"""`tailtrace alert`: rules, what fires and what was told, in the terminal; and a message to try each destination."""

import json
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailtrace_api.commands.options import Json, StoreOption
from tailtrace_api.terminal.console import console
from tailtrace_bridge.core.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tailtrace_api.answers.alerts import Alerts, RuleState
    from tailtrace_bridge.alerts.courier import Send
    from tailtrace_bridge.settings.table import Settings

EVENTS_SHOWN = 20


def alert(
    *,
    test: Annotated[bool, typer.Option("--test", help="Send a test message; exit 1 if one does not arrive.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Show the alerts: rules, what fires, what was told. Or try the destinations."""
    from tailtrace_bridge.settings import table as settings

    chosen = settings.load(store=store)
    if not test:
        run_list(chosen, console(), as_json=as_json)
    elif not run_test(chosen, as_json=as_json):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Sent:
    """A destination, whether it took the test message, and if not, why."""

    destination: str
    sent: bool
    problem: str | None


def send_test(settings: "Settings", send: "Send | None" = None) -> list[Sent]:
    """Send a test message to each destination; say of each whether it took it. Raises `SettingsError`."""
    from tailtrace_bridge.alerts.courier import ChildSend, destinations_of
    from tailtrace_bridge.alerts.state import Message
    from tailtrace_bridge.alerts.words import Words
    from tailtrace_bridge.wiring.parts import clock_us

    destinations = destinations_of(settings.secret("alert_urls"))
    if not destinations:
        raise SettingsError(
            "there is no destination: set TAILTRACE_ALERT_URLS, or TAILTRACE_ALERT_URLS_FILE, to one like "
            "ntfys://ntfy.sh/topic; docs/alerts.md has more"
        )
    words = Words(settings.lang, settings.zone, settings.public_url)
    message = Message(words.say("test.title"), words.message("", [words.say("test")], is_bad=False), clock_us(), False)
    sent = []
    for destination in destinations:
        problem = (send or ChildSend(threading.Event()))(destination, message)
        sent.append(Sent(destination.name, not problem, problem or None))
    return sent


def run_test(settings: "Settings", *, as_json: bool) -> bool:
    """Send the test and say so; give whether all destinations took it."""
    sent = send_test(settings)
    if as_json:
        typer.echo(json.dumps({"destinations": [asdict(one) for one in sent]}))
    else:
        for one in sent:
            typer.echo(f"{one.destination:16} {'sent' if one.sent else one.problem}")
    return all(one.sent for one in sent)


def run_list(settings: "Settings", console: "Console", *, as_json: bool) -> None:
    """Print rules, state and history. Raises `StoreError`, `SettingsError`."""
    from tailtrace_api.answers.alerts import alerts
    from tailtrace_bridge.alerts.courier import destinations_of
    from tailtrace_bridge.alerts.state import read_waiting
    from tailtrace_bridge.wiring.parts import existing_store

    with existing_store(settings) as store:
        answer = alerts(store, settings.alerts)
    destinations = [one.name for one in destinations_of(settings.secret("alert_urls"))]
    waiting = read_waiting(settings.alert_state_path)
    if as_json:
        shown = asdict(answer) | {"destinations": destinations, "messages_waiting": waiting}
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    _print(answer, console)
    to = ", ".join(destinations) or "nobody (TAILTRACE_ALERT_URLS is not set)"
    rest = f"; {waiting} messages wait to be sent" if waiting else ""
    console.print(f"Sent to: {to}{rest}", markup=False, highlight=False)


def _print(answer: "Alerts", console: "Console") -> None:
    if answer.rules:
        console.print(_table(["rule", "kind", "window", "starts", "ends", "for", "state"], map(_row, answer.rules)))
    else:
        console.print("No rules: add [[alerts]] tables to tailtrace.toml; docs/alerts.md has examples.", markup=False)
    known = {rule.name for rule in answer.rules}
    for event in answer.active:
        if event.rule not in known:
            console.print(f"{event.rule}: fires since {event.time}", markup=False, highlight=False)
    if answer.events:
        rows = ([one.time, one.rule, one.what, one.text] for one in answer.events[:EVENTS_SHOWN])
        console.print(_table(["time", "rule", "what", "text"], rows))


def _row(rule: "RuleState") -> list[str]:
    from tailtrace_bridge.alerts.words import duration
    from tailtrace_bridge.settings.alert_rules import PROBES, SEEN

    scope = " ".join(one for one in (rule.endpoint, rule.service) if one)
    return [
        rule.name,
        f"{rule.kind} {scope}".strip(),
        "" if rule.kind in PROBES else duration(rule.window_s),
        "" if rule.threshold is None else f"{rule.threshold:g}",
        "" if rule.clear is None else f"{rule.clear:g}",
        "" if rule.kind in SEEN else duration(rule.for_s),
        f"fires since {rule.since}" if rule.firing else "at rest",
    ]


def _table(heads: list[str], rows: Any) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # texts come from logs: no markup
    return table
