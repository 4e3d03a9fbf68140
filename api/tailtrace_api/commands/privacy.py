"""`tailtrace erase` and `tailtrace export --user`: what a person may ask of whoever keeps data about them.

| asked for | what is done |
|---|---|
| erase | shows what would go; with `--yes`, removes it from the store, which says what went |
| export of a person | rows, kept traces, failures, names, rejected lines, totals, alerts, notes, history of addresses |
| either, of nobody that is stored | `NobodyError`, with names that are near; no file is made |

With pseudonyms on, a login is looked for under its pseudonym. In CSV a value that a spreadsheet takes for a formula
gets an apostrophe before it (OWASP, "CSV injection"); numbers stay numbers. NDJSON has values as they are.
"""

import csv
import difflib
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any

import typer

from tailtrace_api.answers.record import fields_of
from tailtrace_api.answers.requests import iso, log_line, millis
from tailtrace_bridge.core.errors import BridgeError, StoreError
from tailtrace_bridge.core.files.private import private
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.identity.chain import describe
from tailtrace_bridge.identity.history_file import read as read_history
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.person import Erased, Person, make_is_their_event, make_is_their_line, make_is_theirs
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import EVENTS_MAX, By, Filters, LogEntry, Window, may_fail
from tailtrace_bridge.traces.pack import to_otlp_json
from tailtrace_bridge.transfer.exporter import ALL_TIME
from tailtrace_bridge.wiring import parts
from tailtrace_bridge.wiring.erasing import Outcome, erase_person, notes_naming, seen_as_theirs

PAGE = 5000
SHOWN_MAX = 20
NEAR_MAX = 3
"""Names that are told where the one asked for is nobody's."""
NEAR_SHARE = 0.8
"""Of `difflib`: logins share their domain, so by less all of a tailnet would be near."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""https://owasp.org/www-community/attacks/CSV_Injection ; the last are the full-width forms, which count as well."""
_COLUMNS = (
    "record", "timestamp", "user", "device", "ip", "kind", "tags", "service", "method", "path", "endpoint", "status",
    "response_time_ms", "app_time_ms", "upstream_time_ms", "bytes", "trace_id", "span_id", "error_type", "traffic",
    "user_agent", "identified_by", "identified_at", "via", "node_id", "user_id", "requests", "rule", "reason", "text",
    "file", "position", "seen_from", "seen_until", "spans", "otlp",
    "error_group", "version",
)  # fmt: skip


class NobodyError(BridgeError):
    """Nothing is stored of whom somebody asked for."""


def run_erase(settings: Settings, asked: Person, *, is_dry: bool, as_json: bool) -> None:
    """Show what is theirs, or remove it. Raises `StoreError`, and `NobodyError` where nothing is theirs."""
    person = _as_stored(settings, asked)
    with parts.existing_store(settings, reading=False) as store:
        outcome = erase_person(settings, store, person, is_dry=is_dry, called=asked)
        nobody = None if outcome.found_anybody or outcome.finished else _nobody(settings, store, asked)
    if nobody is not None:
        raise nobody
    _print_erased(outcome, is_dry=is_dry, as_json=as_json)
    if outcome.erased.left:
        raise StoreError(outcome.erased.left)


def _print_erased(outcome: Outcome, *, is_dry: bool, as_json: bool) -> None:
    erased, seen, beside = outcome.erased, outcome.seen, outcome.beside
    result = _as_json(erased)
    if as_json:
        done = not is_dry and not erased.left
        typer.echo(
            json.dumps(
                {
                    "erased": done,
                    **result,
                    "history": seen,
                    "traces_naming_them": outcome.named,
                    "notes_naming_them": outcome.notes,
                    "left": erased.left,
                },
                ensure_ascii=False,
            )
        )
        return
    span = f", {result['first']} to {result['last']}" if erased.rows else ""
    typer.echo(
        f"{'would remove' if is_dry else 'removed'} {erased.requests} requests ({erased.rows} of them one by one"
        f"{span}), {len(erased.identities)} names, "
        f"{erased.rejected_lines} rejected lines, {erased.events} alerts, spans of {erased.spans} traces:"
    )
    for one in erased.identities[:SHOWN_MAX]:
        typer.echo(f"  {printable(one.address)}  {describe(one)}")
    if len(erased.identities) > SHOWN_MAX:
        typer.echo(f"  and {len(erased.identities) - SHOWN_MAX} more")
    if seen:
        typer.echo(f"  {seen} times in which an address was seen to be theirs, of the file beside the checkpoint")
    if outcome.notes:
        typer.echo(f"  {outcome.notes} notes of `tailtrace mark` that name them")
    if outcome.named:
        typer.echo(f"  {outcome.named} kept traces, of whomever, whose spans name them")
    if beside:
        typer.echo(beside)
    if outcome.finished:
        typer.echo("An erase of before was cut off, and is finished now.")
    if is_dry:
        typer.echo("Nothing was removed: add --yes. It cannot be undone. nginx's own logs are not touched.")


def _held_records(settings: Settings, store: Store, person: Person) -> Iterator[dict[str, Any]]:
    """Return when which address was seen to be theirs, by the history beside the checkpoint."""
    is_theirs = seen_as_theirs(settings, person, [one.identity for one in store.named(Scope.everybody())])
    for held in read_history(settings.history_path)[0]:
        if is_theirs(held.identity):
            seen = {"seen_from": iso(held.from_us), "seen_until": iso(held.until_us)}
            yield {"record": "seen", **_identity(held.identity), **seen}


def _nobody(settings: Settings, store: Store, asked: Person) -> NobodyError:
    """Say that nobody is called so; whoever may open the store may read who is called nearly so."""
    what, name = next(
        (what, name)
        for what, name in (("login", asked.user), ("device", asked.device), ("address", asked.address))
        if name is not None
    )
    said = f"nobody by that name: the store {settings.store} has nothing of the {what} {name!r}"
    field = {"login": "user", "device": "device", "address": "address"}[what]
    # A pseudonym is near to none.
    known = (
        set()
        if settings.pseudonyms
        else {getattr(one.identity, field) for one in store.named(Scope.everybody())} - {""}
    )
    near = difflib.get_close_matches(name, sorted(known), NEAR_MAX, NEAR_SHARE)
    cure = f"did you mean {' or '.join(near)}?" if near else "`tailtrace report` shows who there is"
    return NobodyError(f"{said}; {cure}")


def run_personal_export(settings: Settings, asked: Person, form: str, output: str, *, as_json: bool) -> None:
    """Write all that is stored about a person. Raises `StoreError`, and `NobodyError` where there is nothing."""
    count, person = 0, _as_stored(settings, asked)
    with parts.existing_store(settings) as store:
        records = chain(personal_records(store, person), _held_records(settings, store, person))
        first = next(records, None)
        if first is None:
            raise _nobody(settings, store, asked)
        with _opened(output) as out:
            writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", lineterminator="\r\n")
            if form == "csv":
                writer.writeheader()
            for record in chain([first], records):
                count += 1
                if form == "csv":
                    writer.writerow({name: neutral(value) for name, value in record.items()})
                else:
                    out.write(json.dumps(record, ensure_ascii=False) + "\n")
            out.flush()
    typer.echo(json.dumps({"records": count}) if as_json else f"{count} records", err=output == "-")


def personal_records(store: Store, person: Person) -> Iterator[dict[str, Any]]:
    """Return all that a store has about a person: names, requests, totals, rejected lines, alerts, notes."""
    known = [one.identity for one in store.named(Scope.everybody())]
    is_theirs = make_is_theirs(person, known)
    theirs = {one for one in known if is_theirs(one)}
    for one in sorted(theirs, key=repr):
        yield {"record": "name", **_identity(one)}
    if person.address is None:
        requests = _by_name(store, Filters(user=person.user, device=person.device))
    else:
        requests = _by_address(store, person.address)
    for entry in requests:
        theirs.add(entry.identity)
        yield _request(entry)
        yield from _kept_of(store, entry)
    for usage in store.usage(Scope.everybody(), ALL_TIME, Filters(user=person.user, device=person.device), By.ALL):
        if is_theirs(usage.identity) or (person.address is None):
            yield {
                "record": "total", **_identity(usage.identity), "service": usage.service, "endpoint": usage.endpoint,
                "method": usage.method, "status": usage.status, "requests": usage.requests,
                "bytes": usage.bytes_sent,
            }  # fmt: skip
    others = [one for one in known if one not in theirs]
    yield from _lines_of(store, make_is_their_line(theirs, others))
    is_their_event = make_is_their_event(theirs, others)
    yield from _alerts_of(store, is_their_event)
    for note in notes_naming(store, is_their_event):
        yield {"record": "note", "timestamp": iso(note.time_us), "service": note.service or None, "text": note.text}


def _kept_of(store: Store, entry: LogEntry) -> Iterator[dict[str, Any]]:
    """Return the spans that are kept of a request, and which group of errors it is of."""
    named = {"timestamp": iso(entry.time_us), "trace_id": entry.trace_id or None}
    at = Window(entry.time_us, entry.time_us + 1)
    for other, kept in store.traces(Scope.everybody(), entry.trace_id, at) if entry.trace_id else ():
        if other.key == entry.key:
            yield {
                "record": "trace", **named, "reason": kept.reason, "spans": kept.spans, "otlp": to_otlp_json(kept.data)
            }  # fmt: skip
    if may_fail(entry.status) or entry.error_type:
        for failure in store.failures_of(Scope.everybody(), [(entry.time_us, entry.key)]):
            yield {
                "record": "failure", **named, "error_group": failure.fingerprint, "error_type": failure.type,
                "text": failure.title, "version": failure.version,
            }  # fmt: skip


def _lines_of(store: Store, is_theirs: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    place = None
    while rejected_lines := store.rejected_lines(Scope.everybody(), place, PAGE):
        place = (rejected_lines[-1].file, rejected_lines[-1].offset)
        for one in rejected_lines:
            if is_theirs(one.text):
                yield {
                    "record": "refused line", "reason": one.reason, "text": one.text, "file": one.file,
                    "position": one.offset,
                }  # fmt: skip


def _alerts_of(store: Store, is_theirs: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    for event in store.alert_events(Scope.everybody(), EVENTS_MAX):
        if is_theirs(f"{event.subject} {event.text}"):
            yield {
                "record": "alert", "timestamp": iso(event.time_us), "rule": event.rule, "about": event.kind,
                "what": event.what, "subject": event.subject, "value": event.value, "text": event.text,
            }  # fmt: skip


def neutral(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)  # begins with a brace
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value


def _by_name(store: Store, filters: Filters) -> Iterator[LogEntry]:
    before = None
    while entries := store.log(Scope.everybody(), ALL_TIME, filters, PAGE, before):
        before = (entries[-1].time_us, entries[-1].key)
        yield from entries


def _by_address(store: Store, address: str) -> Iterator[LogEntry]:
    before = None
    while entries := store.log(Scope.everybody(), ALL_TIME, Filters(), PAGE, before):
        before = (entries[-1].time_us, entries[-1].key)
        for entry in entries:
            if entry.identity.address == address:
                yield entry


def _request(entry: LogEntry) -> dict[str, Any]:
    return {
        "record": "request",
        **fields_of(log_line(entry)),
        "upstream_time_ms": millis(entry.upstream_time_us),
        "span_id": entry.span_id or None,
        "user_agent": entry.user_agent,
    }


def _identity(one: Any) -> dict[str, Any]:
    return {
        "user": one.user or None, "device": one.device or None, "ip": one.address or None, "kind": one.kind,
        "tags": one.tags.split(",") if one.tags else [], "node_id": one.node_id or None,
        "user_id": one.user_id or None, "identified_by": one.provider or None,
    }  # fmt: skip


def _as_stored(settings: Settings, person: Person) -> Person:
    pseudonyms = parts.make_pseudonyms(settings)
    if pseudonyms is None:
        return person
    return Person(
        None if person.user is None else pseudonyms.user(person.user),
        None if person.device is None else pseudonyms.device(person.device),
        None if person.address is None else pseudonyms.address(person.address),
    )


def _as_json(erased: Erased) -> dict[str, Any]:
    return {
        "requests": erased.requests,
        "rows": erased.rows,
        "refused_lines": erased.rejected_lines,
        "traces": erased.spans,
        "alerts": erased.events,
        "first": None if erased.first_us is None else iso(erased.first_us),
        "last": None if erased.last_us is None else iso(erased.last_us),
        "identities": [_identity(one) for one in erased.identities],
    }


@contextmanager
def _opened(output: str) -> Iterator[IO[str]]:
    """Open a file, or standard output, to be written. Raises `StoreError` where it cannot be."""
    try:
        if output == "-":
            buffer = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
            yield buffer
            buffer.detach()  # standard output itself stays open
        elif output.endswith(".gz"):
            with (
                open(output, "wb", opener=private) as packed,
                gzip.open(packed, "wt", encoding="utf-8", newline="") as zipped,
            ):
                yield zipped
        else:
            with open(output, "w", encoding="utf-8", newline="", opener=private) as plain:
                yield plain
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"{output}: cannot be written: {error.strerror}; choose another --output") from error
