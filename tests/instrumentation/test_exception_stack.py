"""The stack of a request's exception: the causes before it, those of a group behind it, and what nobody said."""

import asyncio

import pytest

from tailtrace.light_span import EXCEPTIONS_MAX, OTHER_FRAMES_MAX, STACK_FRAMES_MAX, exception_attributes
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


def fails_nested():
    error = ExceptionGroup(SECRET, [caught(KeyError(SECRET)), caught(ValueError(SECRET))])
    for _ in range(5_000):
        error = ExceptionGroup(SECRET, [error])
    raise error


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
        (fails_nested, ["ExceptionGroup", "KeyError", "ValueError"]),
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


def test_a_deep_stack_is_bounded_and_its_causes_more_so():
    def even(n, then):
        return then() if n == 0 else odd(n - 1, then)

    def odd(n, then):
        return even(n - 1, then)

    def fails_deep():
        try:
            even(300, fails)
        except KeyError as error:
            raise RuntimeError(SECRET) from error

    stack = raised(lambda: even(300, fails_deep))
    cause, _, error = stack.partition(CAUSE)
    assert [one.count("  File ") for one in (cause, error)] == [OTHER_FRAMES_MAX, STACK_FRAMES_MAX]
