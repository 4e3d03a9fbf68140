"""Spans of time: joined, grouped, cut into whole steps and what is left at their ends. Pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tailtrace_bridge.store.values import Window


def groups(spans: Sequence[Window], count_max: int) -> list[Window]:
    """Cover spans, in order, with at most `count_max` of them: those with the smallest gaps between are joined."""
    apart = joined(spans)
    if len(apart) <= count_max:
        return apart
    gaps = sorted(range(1, len(apart)), key=lambda at: apart[at].start_us - apart[at - 1].end_us, reverse=True)
    cuts = [0, *sorted(gaps[: count_max - 1]), len(apart)]
    return [Window(apart[a].start_us, apart[b - 1].end_us) for a, b in pairwise(cuts)]


def joined(spans: Iterable[Window]) -> list[Window]:
    """Join spans that touch; in order."""
    apart: list[Window] = []
    for span in sorted(spans):
        if apart and span.start_us <= apart[-1].end_us:
            apart[-1] = Window(apart[-1].start_us, max(apart[-1].end_us, span.end_us))
        else:
            apart.append(span)
    return apart


def whole(span: Window, size_us: int) -> Window | None:
    """Return the whole steps of a size that lie in a span."""
    low_us, high_us = -(-span.start_us // size_us) * size_us, span.end_us // size_us * size_us
    return Window(low_us, high_us) if low_us < high_us else None


def edges(span: Window, size_us: int) -> list[Window]:
    """Return what is left of a span without its whole steps."""
    inner = whole(span, size_us)
    apart = [span] if inner is None else [Window(span.start_us, inner.start_us), Window(inner.end_us, span.end_us)]
    return [edge for edge in apart if edge.start_us < edge.end_us]


def cut(span: Window, step: Window) -> Window | None:
    """Return what two spans share."""
    low_us, high_us = max(span.start_us, step.start_us), min(span.end_us, step.end_us)
    return Window(low_us, high_us) if low_us < high_us else None
