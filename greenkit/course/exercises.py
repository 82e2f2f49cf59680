"""Exercises: a stub to fill in, visible examples, hidden tests, and feedback that helps."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class NotRight(Exception):
    """An answer is wrong; the message says what is wrong with it."""


def close(got: object, wanted: float, rel: float = 1e-6) -> bool:
    """True where an answer is the number that is wanted. Raises NotRight where it is no number."""
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        raise NotRight(f"The answer must be a number, but it is {got!r}.")
    return math.isclose(got, wanted, rel_tol=rel, abs_tol=1e-9)


def needs_function(answer: object) -> None:
    """Raise NotRight where the answer is not a function."""
    if not callable(answer):
        raise NotRight("Give the function itself, without calling it.")


def number_of(got: Any) -> float:
    """An answer as a plain number; a tensor or an array of one number will do.

    Raises NotRight where it is no number.
    """
    if hasattr(got, "item"):
        got = got.item()
    close(got, 0.0)
    return float(got)


def numbers_of(got: Any, count: int, what: str) -> list[float]:
    """An answer as a list of plain numbers; lists, tuples, arrays and tensors will do.

    `what` says in the plural what they are. Raises NotRight where there are not `count` numbers.
    """
    if hasattr(got, "tolist"):
        got = got.tolist()
    if not isinstance(got, list | tuple) or len(got) != count:
        raise NotRight(f"The answer must be {count} {what}, but it is {got!r}.")
    return [number_of(value) for value in got]


def all_close(got: Sequence[float], wanted: Sequence[float]) -> bool:
    """True where all numbers agree, as precisely as float32 can."""
    return len(got) == len(wanted) and all(
        math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
        for mine, theirs in zip(got, wanted, strict=True)
    )


@dataclass(frozen=True)
class Exercise:
    """One exercise of one lab; `test` raises NotRight with the reason."""

    lab: str
    name: str
    test: Callable[[Any], None]

    _known: ClassVar[dict[tuple[str, str], Exercise]] = {}

    @classmethod
    def named(cls, lab: str, name: str) -> Exercise:
        """The exercise of that name. Raises KeyError with the names that exist."""
        import greenkit.course.answers  # noqa: F401  (registers the exercises of all labs)

        try:
            return cls._known[lab, name]
        except KeyError:
            names = ", ".join(n for known, n in cls._known if known == lab)
            raise KeyError(f"lab {lab} has no exercise {name!r}; it has: {names}") from None

    def check(self, answer: Any) -> bool:
        """Print the feedback for an answer; an answer left at None or `...` is not attempted."""
        if answer is None or answer is ...:
            print(f"{self.name}: not attempted")
            return False
        try:
            self.test(answer)
        except NotRight as reason:
            print(f"{self.name}: not yet. {reason}")
            return False
        except Exception as error:
            print(f"{self.name}: your code raised {type(error).__name__}: {error}")
            return False
        print(f"{self.name}: right")
        return True


def exercise(lab: str, name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a test as the check of an exercise."""

    def register(test: Callable[[Any], None]) -> Callable[[Any], None]:
        Exercise._known[lab, name] = Exercise(lab, name, test)
        return test

    return register
