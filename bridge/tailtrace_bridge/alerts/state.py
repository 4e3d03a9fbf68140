"""What alerts must remember, in a file beside the checkpoint: which fire, who is known, what is still to be sent.

A change is on disk before anything is sent for it; that it was sent, after. So a crash may send one message twice, and
loses none. A file that cannot be read is put aside: rules then begin at rest, and everybody counts as known.

Who is known is kept as hashes; names stand in messages that still wait, and nowhere else.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tailtrace_bridge.alerts.judge import RuleState
from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.files.atomic import has_left_over, remove_left_over, replace_file
from tailtrace_bridge.store.values import AlertEvent

OUTBOX_MAX = 200
"""Messages that wait; the oldest goes for one more. Counted in `AlertCounters.dropped`."""
WAITING_EVENTS_MAX = 500
"""Events that wait for the store, or for the end of quiet hours; likewise, in `events_dropped`."""
KNOWN_MAX = 100_000
"""Users and devices told apart; beyond it nobody is told as new."""
_VERSION = 1
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class Message:
    """A message. `waiting` names the destinations that do not have it yet."""

    title: str
    body: str
    made_us: int
    is_bad: bool = True
    attachments: list[str] = field(default_factory=list)
    """Files that exist until it is sent."""
    waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """All that is remembered."""

    rules: dict[str, RuleState] = field(default_factory=dict)
    known: set[str] | None = None
    """Hashes (`hashed`) of users and devices; None: nobody was counted yet."""
    learning_since_us: int = 0
    """Since when a store that was empty learns who there is; 0: it was not empty."""
    held: list[AlertEvent] = field(default_factory=list)
    """Of quiet hours, not told yet."""
    unstored: list[AlertEvent] = field(default_factory=list)
    outbox: list[Message] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    """When each is due next, µs."""
    last_event_us: int = 0
    broken: dict[str, int] | None = None
    """Groups of errors, by fingerprint, and when each was told of last, µs; None: nobody looked yet."""


@dataclass(slots=True)
class AlertCounters:
    """What happened, and what hit a limit."""

    rounds: int = 0
    failed_rounds: int = 0
    round_us: int = 0
    """How long the last one took."""
    started: int = 0
    ended: int = 0
    seen: int = 0
    sent: int = 0
    failed: int = 0
    """Tries that a destination did not take."""
    dropped: int = 0
    """Messages given up: too many, or too old."""
    events_dropped: int = 0
    unsaved: int = 0
    """Times that the file could not be written."""
    failed_jobs: int = 0
    firing: int = 0
    waiting: int = 0
    """Messages that wait now."""


def hashed(key: str) -> str:
    """Return what stands for a user or a device in the file."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


class Outbox:
    """The state, its lock and its file. Whoever changes or saves the state holds the lock."""

    def __init__(self, path: Path, counters: AlertCounters) -> None:
        self.lock = threading.Lock()
        self.counters = counters
        self._path = path
        self._saved = b""
        self.state = self._load()

    def save(self) -> None:
        """Write the state if it changed. A disk that is full stops nothing: it is counted, and tried again."""
        state = self.state
        content = json.dumps(
            {
                "version": _VERSION,
                # That something is about to change is no news for the disk.
                "rules": {
                    name: {"firing_since_us": rule.firing_since_us, "was_seen": rule.was_seen}
                    for name, rule in state.rules.items()
                },
                "known": None if state.known is None else sorted(state.known),
                "learning_since_us": state.learning_since_us,
                "held": state.held,
                "unstored": state.unstored,
                "outbox": [asdict(message) for message in state.outbox],
                "jobs": state.jobs,
                "last_event_us": state.last_event_us,
                "broken": state.broken,
            }
        ).encode()
        if content == self._saved:
            return
        try:
            replace_file(self._path, content)
        except OSError as error:
            self.counters.unsaved += 1
            _LOGGER.warning("%s: the state of alerts cannot be saved: %s; free or mount the disk", self._path, error)
        else:
            self._saved = content

    def put(self, message: Message, destinations: Iterable[str]) -> None:
        """Put a message into the outbox, for all destinations; without any it is only in the log and the history."""
        message.waiting = list(destinations)
        if message.waiting:
            self.state.outbox.append(message)
            self.counters.dropped += _cut(self.state.outbox, OUTBOX_MAX)

    def keep(self, events: list[AlertEvent], one: AlertEvent) -> None:
        """Add an event to one of the lists that wait."""
        events.append(one)
        self.counters.events_dropped += _cut(events, WAITING_EVENTS_MAX)

    def _load(self) -> State:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as error:
            _LOGGER.warning("%s: the state of alerts cannot be read: %s; beginning anew", self._path, error)
            return State()
        try:
            return _decode(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            aside = _damaged(self._path)
            self._path.replace(aside)
            _LOGGER.warning("%s is damaged (%s); kept as %s, beginning anew", self._path, error, aside)
            return State()


def forget(path: Path, is_theirs: Callable[[str], bool]) -> int:
    """Remove what waits and names a person; give how many. For when no bridge runs: it would write its own again.

    Who is known is kept as hashes of names that are forgotten with the rest, so these all go: whoever is there when the
    next round begins counts as known. Nobody reads a damaged one that was put aside, or what a crash left: both go.
    Raises `LogFileError` where they do not.
    """
    counters = AlertCounters()
    outbox = Outbox(path, counters)
    try:
        remove_left_over(path)
        _damaged(path).unlink(missing_ok=True)
    except OSError as error:
        raise LogFileError(f"{path}: what lies beside it cannot be removed: {error.strerror or error}") from error
    state, gone = outbox.state, 0
    for events in (state.held, state.unstored):
        kept = [one for one in events if not is_theirs(f"{one.subject} {one.text}")]
        gone += len(events) - len(kept)
        events[:] = kept
    messages = [one for one in state.outbox if not is_theirs(f"{one.title} {one.body}")]
    gone += len(state.outbox) - len(messages)
    state.outbox, state.known = messages, None
    if path.exists():
        outbox.save()
    return gone


def is_there(path: Path) -> bool:
    """Return whether there is a file, or one that nobody reads: a damaged one, or what a crash left."""
    return path.exists() or has_left_over(path) or _damaged(path).exists()


def read_waiting(path: Path) -> int | None:
    """Count the messages that wait, for who only looks; None: there is no file to tell."""
    try:
        return len(_decode(json.loads(path.read_bytes())).outbox)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _decode(data: Any) -> State:
    if data["version"] != _VERSION:
        raise ValueError(f"version {data['version']!r}, not {_VERSION}")
    return State(
        rules={name: RuleState(**rule) for name, rule in data["rules"].items()},
        known=None if data["known"] is None else set(data["known"]),
        learning_since_us=int(data["learning_since_us"]),
        held=[AlertEvent(*event) for event in data["held"]],
        unstored=[AlertEvent(*event) for event in data["unstored"]],
        outbox=[Message(**message) for message in data["outbox"]],
        jobs={name: int(due_us) for name, due_us in data["jobs"].items()},
        last_event_us=int(data["last_event_us"]),
        broken=None if data.get("broken") is None else {name: int(us) for name, us in data["broken"].items()},
    )


def _damaged(path: Path) -> Path:
    return path.with_name(path.name + ".corrupt")


def _cut(waiting: list[Any], most: int) -> int:
    excess = max(0, len(waiting) - most)
    del waiting[:excess]
    return excess
