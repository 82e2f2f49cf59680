"""The tests of the tests: wrong answers are refused with a reason, correct variants pass."""

import math
from bisect import bisect_left, bisect_right

import numpy as np


def bounds_by_search(ticks, joules, start, end):
    """An independent solution: try every monotone staircase that agrees with the ticks."""
    known = list(zip(ticks, joules, strict=True))
    least = max((j for t, j in known if t <= end)) - min(j for t, j in known if t >= start)
    most = min(j for t, j in known if t >= end) - max(j for t, j in known if t <= start)
    return max(0.0, least), most


def bounds_by_bisection(ticks, joules, start, end):
    low = joules[bisect_right(ticks, end) - 1] - joules[bisect_left(ticks, start)]
    high = joules[bisect_left(ticks, end)] - joules[bisect_right(ticks, start) - 1]
    return [max(0, low), high]


RIGHT = {
    "watt_hours": [lambda j: j / 3600, lambda joules: joules / 1000 / 3.6],
    "mean_watts": [
        lambda first, last, s: (last - first) / 1000 / s,
        lambda first, last, s: float(np.diff([first, last])[0]) * 1e-3 / s,
    ],
    "shortest_window": [
        lambda tick, error: tick / (math.sqrt(6) * error),
        lambda tick, error: math.sqrt(2 * tick**2 / 12) / error,
    ],
    "hard_bounds": [bounds_by_search, bounds_by_bisection],
}

WRONG = {
    "watt_hours": [
        (lambda j: j * 3600, "multiplied"),
        (lambda j: j / 1000, "kilojoules"),
        (lambda j: j / 3.6e6, "kilowatt-hours"),
        (lambda j: j, "2 Wh"),
        (lambda j: 2.0, "0 J"),
        (2.0, "without calling"),
        (lambda j: "2 Wh", "must be a number"),
    ],
    "mean_watts": [
        (lambda first, last, s: (last - first) / s, "millijoules"),
        (lambda first, last, s: (last - first) / 1000, "per second"),
        (lambda first, last, s: (last - first) / 1000 * s, "multiplied"),
        (lambda first, last, s: last / 1000 / s, "difference"),
        (lambda first, last, s: (first - last) / 1000 / s, "sign"),
        (lambda first, last, s: 300.0, "equal reads"),
        (lambda first, last, s: (last - first) / 3600 / s, "300 W"),
    ],
    "shortest_window": [
        (lambda tick, error: tick * math.sqrt(6) / error, "below the line"),
        (lambda tick, error: tick / (math.sqrt(12) * error), "one edge"),
        (lambda tick, error: tick / error, "worst case"),
        (lambda tick, error: 0.8165, "faster tick"),
        (lambda tick, error: tick, r"0\.816 s"),
    ],
    "hard_bounds": [
        (lambda t, j, a, b: (0, j[-1] - j[0]), "tighter"),
        (lambda t, j, a, b: (5, 20), "lower bound"),
        (lambda t, j, a, b: (-1, 20), "never negative"),
        (lambda t, j, a, b: (0, 12), "upper bound"),
        (lambda t, j, a, b: 12, "two numbers"),
    ],
}
