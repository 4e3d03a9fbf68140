"""What the demo needs of what it has started, be it processes (`stack`) or containers (`containers`)."""

import asyncio
from pathlib import Path
from typing import Protocol

from tailtrace_api.demo.clients import Tally


class Running(Protocol):
    """All of it is up."""

    @property
    def url(self) -> str:
        """nginx, in front of the app."""

    @property
    def api_url(self) -> str:
        """The API of tailtrace."""

    @property
    def log(self) -> Path:
        """The access log of nginx; complete once `drive` has returned."""

    def command(self, words: str) -> str:
        """Return what a person types so that `tailtrace WORDS` reads this store."""

    async def watch(self) -> None:
        """Wait until a part of it is gone, and raise `ChildDied`. Never returns; cancel it."""

    async def drive(self, rate: float, tally: Tally, stop: asyncio.Event) -> None:
        """Let the people send `rate` requests a second until `stop`, and await the last answers; count in `tally`."""

    async def report(self) -> None:
        """Let `tailtrace report` write the three answers to where we write."""
