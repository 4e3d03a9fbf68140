"""A batch as few plain values, for the pipe between two processes of one import: marshal takes them at once. Pure.

| a column | goes as |
|---|---|
| of numbers of 64 bits | bytes: an array |
| of such numbers and None | the same in a list, with `_NONE` for None |
| of trace ids that are all there | bytes: one after the other |
| of None alone | its length |
| any other | itself, numbers as a tuple |
"""

from array import array
from collections.abc import Sequence
from functools import partial
from typing import Any

from tailtrace_bridge.core.columns import Columns, RequestShape
from tailtrace_bridge.core.records import Identity

_NONE = -1 << 63
"""No row has this number."""
_ID_BYTES = 16
_TABLES = len(("identities", "endpoints", "requests", "agents", "identified_us"))
_shape = partial(tuple.__new__, RequestShape)
"""`RequestShape._make`, which would count the values of each once more."""
_TRACE_ID = Columns._fields.index("trace_id")


def flattened(columns: Columns) -> tuple[Any, ...]:
    """Return it as plain values, which `restored` takes."""
    given: Sequence[Sequence[Any]] = columns  # they are of many types
    identities, endpoints, requests, agents, identified_us = given[:_TABLES]
    shapes = list(map(list, zip(*requests, strict=True)))
    tables = list(map(tuple, identities)), endpoints, shapes, agents, identified_us
    numbers = [_flat_numbers(column) for column in given[_TABLES:_TRACE_ID]]
    ids, *rest = given[_TRACE_ID:]
    is_whole = None not in ids and set(map(len, ids)) == {_ID_BYTES}
    return tables, numbers, b"".join(ids) if is_whole else _or_length(ids), list(map(_or_length, rest))


def restored(flat: tuple[Any, ...]) -> Columns:
    """Return what was flattened."""
    (identities, endpoints, requests, *tables), numbers, ids, rest = flat
    columns: list[Any] = [
        list(map(Identity._make, identities)),
        endpoints,
        list(map(_shape, zip(*requests, strict=True))),
    ]
    columns += tables
    columns += map(_numbers, numbers)
    is_whole = isinstance(ids, bytes)
    columns.append([ids[at : at + _ID_BYTES] for at in range(0, len(ids), _ID_BYTES)] if is_whole else _column(ids))
    columns += map(_column, rest)
    return Columns(*columns)


def _flat_numbers(column: Sequence[int | None]) -> Any:
    try:
        return array("q", column).tobytes()  # type: ignore[type-var]  # no line of Python runs for a number
    except TypeError:  # None is among them
        flat = _or_length(column)
        return [_flat_numbers([_NONE if one is None else one for one in column])] if isinstance(flat, list) else flat
    except OverflowError:  # no log has such numbers
        return tuple(column)


def _numbers(flat: Any) -> Sequence[int | None]:
    if isinstance(flat, bytes):
        return array("q", flat).tolist()
    if isinstance(flat, list):
        return [None if one == _NONE else one for one in _numbers(flat[0])]
    return _column(flat)


def _or_length(column: Sequence[Any]) -> Any:
    return len(column) if column.count(None) == len(column) else list(column)


def _column(flat: Any) -> Sequence[Any]:
    return (None,) * flat if isinstance(flat, int) else flat
