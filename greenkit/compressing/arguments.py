"""Numbers and switches that a caller gave, checked before any work: one sentence each."""

from __future__ import annotations

import math
from numbers import Integral, Real


def refuse_no_number(name: str, value: object, expected: str) -> None:
    """Raise ValueError unless `value` is a number: no text, no True, no NaN.

    `expected` ends the sentence "`name` must be …", such as "above 0".
    """
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")


def refuse_no_count(name: str, value: object, least: int | None = 1) -> None:
    """Raise ValueError unless `value` is a whole number, from `least` on where one is given."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, got {value!r}.")
    if least is not None and value < least:
        raise ValueError(f"{name} must be {least} or more, got {value!r}.")


def refuse_no_switch(name: str, value: object) -> None:
    """Raise ValueError unless `value` is True or False: "no" would count as a yes."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is True or False: got {value!r}.")
