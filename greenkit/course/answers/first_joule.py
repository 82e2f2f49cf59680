"""Exercises of lab 01: units, the trapezoid rule, the tick of a counter, hard bounds."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from greenkit.course.exercises import NotRight, close, exercise, needs_function

LAB = "first_joule"


@exercise(LAB, "watt_hours")
def watt_hours(answer: Callable[[float], float]) -> None:
    """Joules to watt-hours."""
    needs_function(answer)
    got = answer(7200.0)
    if close(got, 7200 * 3600):
        raise NotRight("You multiplied. One watt-hour is many joules, so the number must shrink.")
    if close(got, 7.2):
        raise NotRight("That is kilojoules. An hour has 3,600 seconds, so 1 Wh = 3,600 J.")
    if close(got, 0.002):
        raise NotRight("That is kilowatt-hours: a factor of 1,000 too small.")
    if not close(got, 2.0):
        raise NotRight(f"7,200 J are 2 Wh, and your function says {got}.")
    if not close(answer(0.0), 0.0):
        raise NotRight("0 J must give 0 Wh.")


@exercise(LAB, "energy_of_samples")
def energy_of_samples(answer: Callable[[list[float], list[float]], float]) -> None:
    """Trapezoid rule on irregular samples."""
    needs_function(answer)
    if not close(answer([0, 1, 2], [100, 100, 100]), 200):
        raise NotRight("100 W for 2 s are 200 J. Three samples have two stretches between them.")
    uneven = answer([0, 1, 3], [0, 100, 60])
    if close(uneven, 130):
        raise NotRight("You took every stretch as 1 s long. The second one lasts 2 s.")
    if close(uneven, 220):
        raise NotRight("You used the power at the end of each stretch. Use the mean of both ends.")
    if close(uneven, 200):
        raise NotRight(
            "You used the power at the start of each stretch. Use the mean of both ends."
        )
    if not close(uneven, 210):
        raise NotRight(
            f"0 W, 100 W, 60 W at 0, 1 and 3 s are 50 J + 160 J = 210 J; you got {uneven}."
        )
    if not close(answer([5, 7], [30, 50]), 80):
        raise NotRight("The clock need not start at 0: only differences of times count.")


@exercise(LAB, "shortest_window")
def shortest_window(answer: Callable[[float, float], float]) -> None:
    """Window length at which plain differencing of a ticking counter is off by a given share."""
    needs_function(answer)
    got = answer(0.1, 0.05)
    wanted = 0.1 / (math.sqrt(6) * 0.05)
    if close(got, 0.1 * math.sqrt(6) / 0.05):
        raise NotRight("√6 belongs below the line: two independent edges, each uniform on a tick.")
    if close(got, 0.1 / (math.sqrt(12) * 0.05)):
        raise NotRight("That is one edge. A window has two, and their variances add.")
    if close(got, 0.1 / 0.05):
        raise NotRight(
            "That is the worst case. The standard deviation of the difference of two uniform "
            "errors of width U is U/√6."
        )
    if not close(got, wanted, 1e-3):
        raise NotRight(
            f"For a tick of 0.1 s and 5 % the window is {wanted:.3f} s; your function says {got}."
        )
    if not answer(0.02, 0.05) < got:
        raise NotRight("A faster tick must allow a shorter window.")


def _true_bounds(
    ticks: Sequence[float], joules: Sequence[float], start: float, end: float
) -> tuple[float, float]:
    last_before_end = joules[bisect_right(ticks, end) - 1]
    first_after_start = joules[bisect_left(ticks, start)]
    last_before_start = joules[bisect_right(ticks, start) - 1]
    first_after_end = joules[bisect_left(ticks, end)]
    return max(0.0, last_before_end - first_after_start), first_after_end - last_before_start


@exercise(LAB, "hard_bounds")
def hard_bounds(
    answer: Callable[[list[float], list[float], float, float], tuple[float, float]],
) -> None:
    """What a monotone counter proves about a window, however short."""
    needs_function(answer)
    ticks, joules = [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 10.0, 30.0, 60.0, 61.0]
    cases = ((1.2, 1.8), (0.5, 2.5), (1.0, 3.0), (0.5, 3.5))
    for start, end in cases:
        got = answer(ticks, joules, start, end)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise NotRight(f"Return two numbers, (low, high); got {got!r}.")
        low, high = _true_bounds(ticks, joules, start, end)
        where = f"for the window from {start} to {end} s"
        if got[0] < 0:
            raise NotRight(f"The lower bound is {got[0]} J {where}: energy is never negative.")
        if got[0] > low + 1e-9:
            raise NotRight(
                f"Your lower bound {got[0]} J {where} is not proven: power may have been low "
                "inside the window and high just outside it."
            )
        if got[1] < high - 1e-9:
            raise NotRight(
                f"Your upper bound {got[1]} J {where} is not proven: all energy of the ticks that "
                "the window touches may lie inside it."
            )
        if not (close(got[0], low) and close(got[1], high)):
            raise NotRight(
                f"{got} holds {where}, but it can be tighter: the ticks prove {(low, high)}."
            )
