"""Brings messages to their destinations, in a thread of its own: a service that is dead or slow stops nothing else.

| a destination | what happens |
|---|---|
| takes a message | the next one goes to it, in order |
| does not, or not within `SEND_S` | its messages wait `PAUSE_S`, twice as long each time, `PAUSE_S_MAX` at most |
| has not taken a message for `AGE_US_MAX` | that message is given up, and counted |
| is no longer in the settings | nothing waits for it |

What waits is in the state's file, so a restart forgets none of it. Whoever reads a log or `/metrics` sees a
destination by number and kind, `1:tgram`; its URL has tokens in it.
"""

import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from tailtrace_bridge.alerts.state import Message, Outbox
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.secret import Secret

_BETWEEN = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+-]{0,20}://)")
"""A comma between two URLs; others are part of one."""
SEND_S = 30.0
PAUSE_S = 15.0
PAUSE_S_MAX = 900.0
AGE_US_MAX = 24 * 3_600_000_000
DESTINATIONS_MAX = 20
STOPS = "tailtrace stops"
BROKEN = "the process that sends ended"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go."""

    name: str
    """Number and kind: nothing secret."""
    url: Secret = field(repr=False)


Send = Callable[[Destination, Message], str]
"""Sends; gives what is wrong, or nothing."""


def destinations_of(urls: Secret | None) -> list[Destination]:
    """Read apprise URLs with commas, blanks or lines between them. Raises `SettingsError`, without them."""
    found = _BETWEEN.sub(" ", urls.get_secret_value()).split() if urls is not None else []
    if len(found) > DESTINATIONS_MAX:
        raise SettingsError(f"TAILTRACE_ALERT_URLS: {len(found)} URLs; there may be {DESTINATIONS_MAX}")
    destinations = []
    for number, url in enumerate(found, start=1):
        scheme, colon, rest = url.partition("://")
        if not colon or not rest or not scheme.replace("+", "").replace("-", "").isalnum() or len(scheme) > 20:
            raise SettingsError(
                f"TAILTRACE_ALERT_URLS: number {number} is no apprise URL (not shown, it may hold a secret); write one "
                "like ntfys://ntfy.sh/topic, several with commas: https://appriseit.com/services/"
            )
        destinations.append(Destination(f"{number}:{scheme.lower()}", Secret(url)))
    return destinations


class ChildSend:
    """`Send` by a child process (`send_child`), which is ended when it takes too long."""

    def __init__(self, stop: threading.Event, timeout_s: float = SEND_S) -> None:
        self._stop, self._timeout_s = stop, timeout_s

    def __call__(self, destination: Destination, message: Message) -> str:
        """Send one message to one destination."""
        answer = self._ask({
            "url": destination.url.get_secret_value(), "title": message.title, "body": message.body,
            "is_bad": message.is_bad, "attachments": message.attachments,
        })  # fmt: skip
        return answer if isinstance(answer, str) else str(answer.get("problem", BROKEN))

    def check(self, destinations: Sequence[Destination]) -> list[str]:
        """Look at the form of the URLs, and send nothing: give what is wrong with each, or nothing."""
        answer = self._ask({"urls": [one.url.get_secret_value() for one in destinations]})
        problems = answer if isinstance(answer, str) else answer.get("problems")
        if not isinstance(problems, list) or len(problems) != len(destinations):
            return [problems if isinstance(problems, str) else BROKEN] * len(destinations)
        return list(map(str, problems))

    def _ask(self, order: dict[str, Any]) -> dict[str, Any] | str:
        """Return what the child answers, or what became of it."""
        given = json.dumps(order).encode()
        with subprocess.Popen(  # our own program
            [sys.executable, "-m", "tailtrace_bridge.alerts.send_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            end_s = monotonic() + self._timeout_s
            while True:
                try:
                    said, _ = child.communicate(given, timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    given = b""  # communicate has taken it
                    if monotonic() < end_s and not self._stop.is_set():
                        continue
                    child.kill()
                    return STOPS if self._stop.is_set() else f"no answer within {self._timeout_s:.0f} s"
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        return answer if isinstance(answer, dict) else f"{BROKEN} with status {child.returncode}"


@dataclass(slots=True)
class _Pause:
    tries: int = 0
    until_us: int = 0


def warn_of_wrong(destinations: Sequence[Destination], send: ChildSend) -> None:
    """Tell in one line of the log which destinations will take nothing, for want of a right URL."""
    found = zip(destinations, send.check(destinations), strict=True)
    wrong = [f"{one.name}: {problem}" for one, problem in found if problem not in {"", STOPS}]
    if wrong:
        _LOGGER.warning(
            "TAILTRACE_ALERT_URLS: %s. Alerts do not go there; `tailtrace alert --test` tries each", "; ".join(wrong)
        )


class Courier:
    """Empties the outbox of a outbox. `clock` gives microseconds since the epoch."""

    def __init__(
        self, destinations: Sequence[Destination], send: Send, outbox: Outbox, clock: Callable[[], int]
    ) -> None:
        self.destinations = list(destinations)
        self._send, self._outbox, self._clock = send, outbox, clock
        self._pauses = {one.name: _Pause() for one in destinations}

    def step(self) -> None:
        """Try once, for each destination that has something and does not pause."""
        self._give_up_old(self._clock())
        for destination in self.destinations:
            while self._clock() >= self._pauses[destination.name].until_us and self._try_next(destination):
                pass

    def _try_next(self, destination: Destination) -> bool:
        outbox, name, counters = self._outbox, destination.name, self._outbox.counters
        with outbox.lock:
            message = next((one for one in outbox.state.outbox if name in one.waiting), None)
        if message is None:
            return False
        problem = self._send(destination, message)
        pause = self._pauses[name]
        with outbox.lock:
            if problem:
                counters.failed += 1
                pause_s = min(PAUSE_S_MAX, PAUSE_S * 2 ** min(pause.tries, 16))
                pause.tries, pause.until_us = pause.tries + 1, self._clock() + int(pause_s * 1e6)
                _LOGGER.warning("alert not sent to %s: %s; trying again in %.0f s", name, problem, pause_s)
                return False
            counters.sent += 1
            pause.tries = pause.until_us = 0
            message.waiting.remove(name)
            self._forget()
        return True

    def _give_up_old(self, now_us: int) -> None:
        known = self._pauses.keys()
        with self._outbox.lock:
            for message in self._outbox.state.outbox:
                message.waiting = [name for name in message.waiting if name in known]
                if message.waiting and now_us - message.made_us > AGE_US_MAX:
                    self._outbox.counters.dropped += 1
                    _LOGGER.error("alert given up for %s after a day: %s", ", ".join(message.waiting), message.title)
                    message.waiting = []
            self._forget()

    def _forget(self) -> None:
        """Let go of what everybody has, and save. The caller has the lock."""
        state = self._outbox.state
        state.outbox = [message for message in state.outbox if message.waiting]
        self._outbox.counters.waiting = len(state.outbox)
        self._outbox.save()
