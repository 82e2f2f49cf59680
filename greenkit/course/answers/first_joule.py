"""Exercises of lab 01: units, a counter of millijoules, its tick, hard bounds."""

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


@exercise(LAB, "mean_watts")
def mean_watts(answer: Callable[[float, float, float], float]) -> None:
    """Mean power between two reads of a counter that counts millijoules."""
    needs_function(answer)
    got = answer(5_000_000, 5_600_000, 2.0)
    if close(got, 300_000):
        raise NotRight("The counter counts millijoules: 1,000 mJ are 1 J.")
    if close(got, 600) or close(got, 600_000):
        raise NotRight("That is an energy. Power is energy per second: divide by the seconds.")
    if close(got, 1200):
        raise NotRight("You multiplied by the seconds. A watt is a joule per second.")
    if close(got, 2800) or close(got, 2_800_000):
        raise NotRight(
            "You took the second read alone. It counts from the day the driver was loaded: only "
            "the difference of two reads belongs to the window."
        )
    if close(got, -300):
        raise NotRight("The sign is wrong: the later read is the larger one.")
    if not close(got, 300):
        raise NotRight(f"600,000 mJ in 2 s are 600 J in 2 s, 300 W; your function says {got}.")
    if not close(answer(1_000, 1_000, 5.0), 0):
        raise NotRight("Two equal reads mean 0 W.")


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
