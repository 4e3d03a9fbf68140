"""The keeper of traces, made of the settings."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.traces.choice import TraceChoice, Wanted
from tailtrace_bridge.traces.keeper import TraceKeeper
from tailtrace_bridge.traces.waiting import Waiting
from tailtrace_bridge.wiring.parts import clock_us, make_pseudonyms

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings

_MIB = 1024 * 1024


def make_keeper(settings: "Settings", store: Store, known: Callable[[Identity], Identity]) -> TraceKeeper:
    """Make the keeper, not started; `known` says who a pseudonym is. The checkpoint is locked: nobody else counts."""
    return TraceKeeper(
        store,
        TraceChoice(_wanted(settings)),
        bytes_max=settings.traces_max_mb * _MIB,
        service=settings.export_service,
        has_messages=settings.traces_messages,
        clock=clock_us,
        monotonic_s=time.monotonic,
        known=known,
        waiting=Waiting(settings.checkpoint.with_name(settings.checkpoint.name + ".traces")),
    )


def _wanted(settings: "Settings") -> Wanted:
    pseudonyms = make_pseudonyms(settings)
    named: dict[str, set[str]] = {"user": set(), "endpoint": set()}
    for wish in settings.traces_always:
        kind, _, name = wish.partition(":")
        named[kind].add(pseudonyms.user(name) if pseudonyms is not None and kind == "user" else name)
    return Wanted(settings.traces_per_minute, settings.traces_one_in, named["user"], named["endpoint"])
