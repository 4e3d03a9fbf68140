"""A record is a frozen dataclass, and its response model is made when it is first answered."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from tailtrace_api.answers.record import Record, fields_of, record


@record
class Point(Record):
    """One."""

    x: int
    y: int = 0


@record
class Other(Point):
    """Another, of the same fields."""


def test_a_record_is_compared_hashed_and_shown_like_a_dataclass_and_does_not_change():
    one = Point(x=1)
    assert (one == Point(x=1, y=0), one == Point(x=2), one == Other(x=1), one == (1, 0)) == (True, False, False, False)
    assert {one, Point(x=1), Point(x=2)} == {Point(x=1), Point(x=2)}
    assert repr(one) == "Point(x=1, y=0)"
    assert replace(one, y=3) == Point(**fields_of(one) | {"y": 3})
    with pytest.raises(FrozenInstanceError):
        one.x = 2
    with pytest.raises(TypeError):
        Point(1)
    assert not hasattr(one, "__dict__")


def test_its_model_is_made_when_it_is_first_answered_whoever_asks_at_once():
    model = TypeAdapter(Annotated[Point, Field()])  # as FastAPI makes it
    assert not model.pydantic_complete
    with ThreadPoolExecutor(8) as pool:
        said = set(pool.map(lambda x: model.dump_json(model.validate_python(Point(x=x % 2))), range(64)))
    assert (said, model.pydantic_complete) == ({b'{"x":0,"y":0}', b'{"x":1,"y":0}'}, True)
