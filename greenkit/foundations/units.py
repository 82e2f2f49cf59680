"""Formulas on plain numbers that know the unit of every argument and of their result.

A bare number is taken in the unit that the formula names. A quantity of this package in another
unit is refused (kWh is not J), and a pint quantity is converted, or refused by pint.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec

from greenkit.foundations.quantity import Quantity
from greenkit.foundations.reading import Reading

P = ParamSpec("P")


@dataclass(frozen=True)
class Formula:
    """A formula with the units of its arguments and of its result, as pint spells them.

    `bare` is the arithmetic alone, without any check: what the tests hand to pint.
    """

    name: str
    gives: str
    takes: Mapping[str, str]
    bare: Callable[..., Any]


FORMULAS: dict[str, Formula] = {}


def formula(gives: str, **takes: str) -> Callable[[Callable[P, float]], Callable[P, float]]:
    """Declare the units of a formula and check its arguments: finite, and not below 0.

    A unit that ends in "> 0" also refuses 0, and one that ends in ">= 1" refuses less than 1.
    """
    units = {name: unit.partition(">")[0].strip() for name, unit in takes.items()}
    limits = {name: unit.partition(">")[1] + unit.partition(">")[2] for name, unit in takes.items()}

    def declare(bare: Callable[P, float]) -> Callable[P, float]:
        signature = inspect.signature(bare)
        FORMULAS[bare.__name__] = Formula(bare.__name__, gives, units, bare)

        @functools.wraps(bare)
        def checked(*args: P.args, **kwargs: P.kwargs) -> float:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            for name, value in given.arguments.items():
                given.arguments[name] = plain(name, value, units[name], limits[name])
            return bare(*given.args, **given.kwargs)

        return checked

    return declare


def plain(name: str, value: Any, unit: str, limit: str = "") -> float:
    """The bare number of an argument in its unit.

    Raises ValueError, with what was expected, for another unit, for what is no finite number, and
    for a number below its limit.
    """
    shown = f" in {unit}" if unit else ""
    if isinstance(value, Reading):
        value = value._quantity
    if isinstance(value, Quantity):
        if value.unit != unit:
            raise ValueError(f"{name} is a number{shown}, got {value.text}: convert it first")
        value = value.value
    elif hasattr(value, "magnitude") and hasattr(value, "to"):
        value = value.to(unit or "dimensionless").magnitude
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number{shown}, got {value!r}")
    number: float = value
    got = f"got {float(number):g}"
    if limit == "> 0" and number <= 0:
        raise ValueError(f"{name} must be above 0{shown}, {got}")
    if limit == ">= 1" and number < 1:
        meaning = "PUE is facility energy / IT energy, at least 1" if name == "pue" else ""
        raise ValueError(f"{meaning or f'{name} must be at least 1'}; {got}")
    if number < 0:
        raise ValueError(f"{name} must not be below 0{shown}, {got}")
    return number
