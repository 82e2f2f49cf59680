"""Peaks of a power trace, by how far they stand out from what surrounds them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def peaks(
    times_s: Sequence[float], watts: Sequence[float], prominence_w: float
) -> list[tuple[float, float]]:
    """Local maxima as (time s, watts) that stand out by `prominence_w` or more.

    The prominence of a peak is its height above the higher of the two lowest points that lie
    between it and higher ground (or the end of the trace) on either side, as in SciPy. The first
    and the last sample are no peaks; of a flat top only the first sample counts.
    Raises ValueError for a prominence that is not above 0 and for lists of different lengths.

    >>> peaks([0, 1, 2, 3, 4], [60, 300, 60, 80, 60], prominence_w=100)
    [(1, 300)]
    """
    if not prominence_w > 0:
        raise ValueError(f"a peak stands out by more than 0 W, got {prominence_w}")
    if len(times_s) != len(watts):
        raise ValueError(f"{len(times_s)} times and {len(watts)} powers: one of each for a sample")
    left = _lowest_since_higher(watts, ties_count=True)
    right = _lowest_since_higher(watts[::-1], ties_count=False)[::-1]
    return [
        (time_s, top)
        for time_s, top, before, after in zip(times_s, watts, left, right, strict=True)
        if prominence_w <= top - max(before, after)
    ]


def _lowest_since_higher(watts: Sequence[float], *, ties_count: bool) -> list[float]:
    """For each value the lowest since a higher one: itself right after one, and at an end."""
    found: list[float] = []
    hills: list[tuple[float, float]] = []  # ever lower ones, each with the lowest before it
    for top in watts:
        lowest = math.inf
        while hills and (hills[-1][0] < top or (hills[-1][0] == top and not ties_count)):
            value, before = hills.pop()
            lowest = min(lowest, value, before)
        found.append(min(lowest, top))
        hills.append((top, min(lowest, top)))
    return found
