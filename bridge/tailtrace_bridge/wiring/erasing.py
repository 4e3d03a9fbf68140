"""Forget a person in the store and in the files beside the checkpoint, and finish what a crash cut off.

| first to last | a crash in it |
|---|---|
| the store notes whom | nothing was removed |
| the months' reports, alerts that wait, the history of addresses | the next start does all again |
| kept traces whose spans name them, of whomever; notes that do | the same |
| the store: rows, rollups, names, then old pages of its file | the same; once the rows are gone the note names nobody |

`serve` and `bridge` finish at their start what is noted, and so does each erase.
"""

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tailtrace_bridge.alerts.state import forget, is_there
from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.files.lock import FileLock
from tailtrace_bridge.core.records import Identity, Marker
from tailtrace_bridge.identity.history_file import erase as erase_history
from tailtrace_bridge.identity.history_file import read as read_history
from tailtrace_bridge.store.person import Erased, IsTheirs, Person, make_is_their_event, make_is_theirs
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Window
from tailtrace_bridge.wiring.parts import lock_checkpoint

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings

EVER = Window(0, 2**53)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What went, or would."""

    erased: Erased
    seen: int
    """Entries of the history of addresses."""
    messages: int
    """Alerts that waited to be sent."""
    named: int
    """Kept traces whose spans name them, their own among these."""
    notes: int
    """Notes that name them (`tailtrace mark`)."""
    beside: str
    """What could not go from beside the checkpoint, why, and what to do; empty: nothing."""
    finished: bool = False
    """An erase of before was cut off, and was finished first."""

    @property
    def found_anybody(self) -> bool:
        """Whether anything was theirs."""
        return is_anybody(self.erased) or bool(self.seen or self.messages or self.named or self.notes)


def erase_person(
    settings: "Settings",
    store: Store,
    person: Person,
    *,
    is_dry: bool,
    lock: FileLock | None = None,
    called: Person | None = None,
) -> Outcome:
    """Forget a person, as the store names them; with `is_dry`, only count. Raises `StoreError`.

    `lock` is the checkpoint's, where the caller holds it; `called` is the name that spans have, where the store has
    pseudonyms.
    """
    if is_dry:
        erased = store.erase(person, is_dry=True)
        is_theirs = seen_as_theirs(settings, person, erased.identities)
        seen = erase_history(settings.history_path, is_theirs, is_dry=True)
        return Outcome(erased, seen, 0, *_drop_named(store, person, erased, called, is_dry=True), "")
    before = store.unfinished_erase()
    if before not in {None, Person(), person}:  # whose traces alone are left, or who is asked for, goes with this one
        finish_erase(settings, store, lock)
    store.begin_erase(person)
    return replace(_forget(settings, store, person, lock, called), finished=before is not None)


def finish_erase(settings: "Settings", store: Store, lock: FileLock | None = None) -> Outcome | None:
    """Do what an erase of before left undone; None: there is nothing."""
    person = store.unfinished_erase()
    if person is None:
        return None
    _log.warning("store: an erase was cut off; it is finished now")
    outcome = _forget(settings, store, person, lock)
    if outcome.erased.left:
        _log.warning("store: %s", outcome.erased.left)
    return outcome


def _forget(
    settings: "Settings", store: Store, person: Person, lock: FileLock | None, called: Person | None = None
) -> Outcome:
    """Forget whom the store has noted: first what stands beside it, by the names that it still knows."""
    found = store.erase(person, is_dry=True)
    messages, beside = _forget_beside(settings, person, found, lock)
    seen = erase_history(settings.history_path, seen_as_theirs(settings, person, found.identities), is_dry=False)
    named, notes = _drop_named(store, person, found, called, is_dry=False)
    return Outcome(store.erase(person, is_dry=False), seen, messages, named, notes, beside)


def _drop_named(store: Store, person: Person, found: Erased, called: Person | None, *, is_dry: bool) -> tuple[int, int]:
    """Remove kept traces whose spans name them, and notes; return how many of each.

    An app may write of one person while another one asks, and whoever deploys may write by whom.
    """
    if person == Person():
        return 0, 0
    from tailtrace_bridge.traces.pack import texts_of  # noqa: PLC0415 - each start imports this for an erase cut short

    theirs = {*found.identities, _asked(person), _asked(called or person)}
    others = [one.identity for one in store.named(Scope.everybody()) if one.identity not in theirs]
    is_theirs = make_is_their_event(theirs, others)
    named = store.drop_traces(lambda data: is_theirs(texts_of(data)), is_dry=is_dry)
    notes = notes_naming(store, is_theirs)
    if notes and not is_dry:
        store.drop_markers(notes)
    return named, len(notes)


def notes_naming(store: Store, is_theirs: Callable[[str], bool]) -> list[Marker]:
    """Return the notes and versions that name somebody."""
    return [one for one in store.markers(Scope.everybody(), EVER) if is_theirs(f"{one.service} {one.text}")]


def _asked(person: Person) -> Identity:
    """Return who was asked for, by that name: whoever erases again finds nobody in the store any more."""
    return Identity(person.address or "", "user", person.user or "", person.device or "")


def is_anybody(erased: Erased) -> bool:
    """Whether a store had anything of theirs."""
    return bool(
        erased.requests or erased.rows or erased.rejected_lines or erased.identities or erased.spans or erased.events
    )


def seen_as_theirs(settings: "Settings", person: Person, known: Iterable[Identity]) -> IsTheirs:
    """Return what tells whether what was seen of an address was about them; `known` are names that the store has."""
    return make_is_theirs(person, [*known, *(held.identity for held in read_history(settings.history_path)[0])])


def _forget_beside(settings: "Settings", person: Person, found: Erased, lock: FileLock | None) -> tuple[int, str]:
    """Remove what the files beside the checkpoint have of somebody: how much of alerts, and what could not go."""
    if is_anybody(found):  # a month names everybody
        shutil.rmtree(settings.checkpoint.with_name("tailtrace-reports"), ignore_errors=True)
    if not is_there(settings.alert_state_path):
        return 0, ""
    is_theirs = make_is_their_event((*found.identities, _asked(person)), ())
    if lock is not None:
        return forget(settings.alert_state_path, is_theirs), ""
    try:
        lock = lock_checkpoint(settings.checkpoint)
    except BridgeError:
        said = (
            "A bridge is running: alerts of this person that still wait to be sent, a day at most, go once they are. "
            "To remove these too, stop it and erase again."
        )
        return 0, said
    try:
        return forget(settings.alert_state_path, is_theirs), ""
    finally:
        lock.release()
