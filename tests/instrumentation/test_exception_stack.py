"""The stack of a request's exception: the causes before it, those of a group behind it, and what nobody said."""

import asyncio

import pytest

from tailtrace.light_span import EXCEPTIONS_MAX, STACK_FRAMES_MAX, exception_attributes
from tailtrace_bridge.traces.stack import frames_of, without_messages

SECRET = "secret of hers"
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"


def raised(function):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each raises another
        function()
    return exception_attributes(caught.value)["exception.stacktrace"]


def caught(error):
    try:
        raise error
    except type(error):
        return error


def said(stack):
    """Classes and sentences of a stack: what stands at the margin."""
    return [line for line in stack.splitlines() if line and not line.startswith((" ", "Traceback"))]


def fails():
    raise KeyError(SECRET)


def fails_because(levels=1):
    try:
        fails_because(levels - 1) if levels > 1 else fails()
    except Exception as error:
        raise RuntimeError(SECRET) from error


def fails_meanwhile():
    try:
        fails()
    except KeyError:
        raise ValueError(SECRET)  # noqa: B904 - that is what is tried


def fails_alone():
    try:
        fails()
    except KeyError:
        raise ValueError(SECRET) from None


async def fails_later():
    raise KeyError(SECRET)


async def _tasks():
    async with asyncio.TaskGroup() as group:
        group.create_task(fails_later())


def fails_in_a_task():
    asyncio.run(_tasks())


def fails_in_circles():
    one, two = caught(KeyError(SECRET)), caught(ValueError(SECRET))
    one.__cause__, two.__cause__ = two, one
    raise one


def fails_in_many():
    raise ExceptionGroup(SECRET, [ExceptionGroup(SECRET, [caught(KeyError(n)) for n in range(99)])])


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        (fails, ["KeyError"]),
        (fails_because, ["KeyError", CAUSE, "RuntimeError"]),
        (fails_meanwhile, ["KeyError", CONTEXT, "ValueError"]),
        (fails_alone, ["ValueError"]),
        (fails_in_a_task, ["ExceptionGroup", "KeyError"]),
        (fails_in_circles, ["ValueError", CAUSE, "KeyError"]),
        (fails_in_many, ["ExceptionGroup", *["KeyError"] * EXCEPTIONS_MAX]),
        (lambda: fails_because(9), ["RuntimeError", *[CAUSE, "RuntimeError"] * (EXCEPTIONS_MAX - 1)]),
    ],
)
def test_causes_come_before_it_and_a_group_behind_it(function, lines):
    stack = raised(function)
    assert said(stack) == lines
    assert SECRET not in stack
    assert said(without_messages(stack)) == lines, "the bridge reads it so"


@pytest.mark.parametrize(("function", "where"), [(fails_because, "fails_because"), (fails_in_a_task, "fails_later")])
def test_the_last_one_says_where_it_broke(function, where):
    assert frames_of(raised(function))[-1].function == where


def test_a_deep_stack_is_bounded():
    def deep(n):
        return fails() if n == 0 else deep(n - 1) + len([n])

    assert len(frames_of(raised(lambda: deep(300)))) <= STACK_FRAMES_MAX
