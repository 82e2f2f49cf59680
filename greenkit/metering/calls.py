"""Functions whose every call is metered, whatever kind of function they are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing
from typing import Any, TypeVar, cast

F = TypeVar("F")
Block = Callable[[], AbstractContextManager[object]]

LAZY: dict[str, Callable[[Any], bool]] = {
    "an async generator": inspect.isasyncgenfunction,
    "an async function": inspect.iscoroutinefunction,
    "a generator": inspect.isgeneratorfunction,
}
UNFINISHED: dict[str, Callable[[Any], bool]] = {
    "an awaitable": inspect.isawaitable,
    "a generator": inspect.isgenerator,
    "an async generator": inspect.isasyncgen,
}


def metered(function: F, block: Block) -> F:
    """The same function, with each call inside a block of its own.

    The block of an async function holds what runs from its first step to its result, that of a
    generator what runs from the first value asked for until it is exhausted or closed: the time
    that others take in between counts, since the machine draws power then, too. A staticmethod or
    classmethod stays one. Raises TypeError for what is no function, and at the call where a plain
    function returns a coroutine or a generator, whose work comes after the call.
    """
    if isinstance(function, staticmethod | classmethod):
        return cast(F, type(function)(metered(function.__func__, block)))
    if inspect.isclass(function) or not callable(function):
        what = "a class" if inspect.isclass(function) else f"no function: {function!r:.60}"
        raise TypeError(f"what is metered is each call of a function; this is {what}")
    kind = lazy_kind(function)
    wrapped = {
        "an async generator": _async_generator,
        "an async function": _coroutine,
        "a generator": _generator,
    }.get(kind, _plain)(function, block)
    bare = not hasattr(function, "__name__")  # a partial or an object: its attributes are its own
    functools.update_wrapper(wrapped, function, updated=() if bare else ("__dict__",))
    if bare:
        named = getattr(function, "func", type(function))
        wrapped.__name__ = wrapped.__qualname__ = getattr(named, "__name__", "metered")
    return cast(F, wrapped)


def lazy_kind(function: object) -> str:
    """What a function is that returns before it has worked, e.g. "a generator"; else empty."""
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = inspect.getattr_static(type(function), "__call__", function)
    return next((kind for kind, is_one in LAZY.items() if is_one(function)), "")


def refuse_lazy(*functions: object) -> None:
    """Raise TypeError where calling a function does not do its work, or is not possible."""
    for function in functions:
        if not callable(function):
            raise TypeError(f"pass a function that does the work, not {function!r:.60}")
        if kind := lazy_kind(function):
            how = "list(function())" if kind == "a generator" else "asyncio.run(…)"
            raise TypeError(
                f"{_name(function)} is {kind}: a call only prepares its work, at nearly 0 J; pass "
                f"a plain function that runs it to its end, e.g. lambda: {how}"
            )


def refuse_unfinished(function: object, result: object) -> None:
    """Raise TypeError where a call returned a coroutine or a generator instead of working."""
    kind = next((kind for kind, is_one in UNFINISHED.items() if is_one(result)), "")
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that nobody waited for it
    if kind:
        raise TypeError(
            f"{_name(function)} returned {kind}, whose work comes after the call: the call alone "
            "would cost nearly 0 J; pass a function that runs it to its end"
        )


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _plain(function: Callable[..., Any], block: Block) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        with block():
            result = function(*args, **kwargs)
            refuse_unfinished(function, result)
            return result

    return call


def _coroutine(function: Callable[..., Any], block: Block) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with block():
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], block: Block) -> Any:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with block():
            return (yield from function(*args, **kwargs))

    return call


def _async_generator(function: Callable[..., Any], block: Block) -> Any:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with block():
            async with aclosing(function(*args, **kwargs)) as source:
                step = anext(source)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = source.asend((yield item))  # codespell:ignore asend
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # thrown in by whoever iterates
                        step = source.athrow(error)

    return call
