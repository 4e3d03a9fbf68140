"""Models and adapters of pydantic that are defined while a library is imported."""

import pytest
from pydantic import BaseModel, TypeAdapter

from tailtrace_bridge.core.lazy_models import models_deferred


def defined():
    class Point(BaseModel):
        x: int

    class Line(BaseModel):
        start: Point

    return Point, TypeAdapter(Point | Line), TypeAdapter[list[int]](list[int])


def test_they_are_made_at_their_first_use():
    with models_deferred():
        point, either, numbers = defined()
    assert not point.__pydantic_complete__
    assert (either.pydantic_complete, numbers.pydantic_complete) == (False, False)
    assert point(x="3").x == 3
    assert either.validate_python({"start": {"x": "4"}}).start.x == 4
    assert numbers.validate_json(b"[1, 2]") == [1, 2]
    assert (point.__pydantic_complete__, either.pydantic_complete) == (True, True)


def test_others_are_made_when_they_are_defined():
    with pytest.raises(OSError, match="no such library"), models_deferred():
        raise OSError("no such library")
    point, either, numbers = defined()
    assert (point.__pydantic_complete__, either.pydantic_complete, numbers.pydantic_complete) == (True, True, True)
