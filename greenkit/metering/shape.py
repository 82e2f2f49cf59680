"""The shape of the power between two readings of a counter, from samples that see part of it.

A card's power sample is a mean over its last `seen_s` seconds; of the time until the next one
begins nothing is seen. Where two samples differ, the power stepped from one to the other at some
instant in between, and the counter's energy tells at which. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

EVEN = 0.01  # share of its power by which a stretch that looks level may be off
UNSEEN = 0.1  # weight of the steps around, for those that came and went between two samples
ROUNDS = 5
NOTHING = 1e-6  # of the energy: samples that add up to so little tell no shape
WITHIN = 0.25  # weight of a step that a sample has seen, in the stretches beside it


class Sample(NamedTuple):
    """The mean power (W) of the `seen_s` seconds before an instant."""

    time_s: float
    watts: float


@dataclass(frozen=True)
class Stretch:
    """Power between two instants: its level at both ends and its mean (W); variance of its energy
    (J²)."""

    start_s: float
    end_s: float
    first_w: float
    last_w: float
    mean_w: float
    variance: float

    @property
    def length_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s

    @property
    def joules(self) -> float:
        """Mean power times length."""
        return self.mean_w * self.length_s

    def within(self, joules: float) -> float:
        """The energy closest to `joules` that power between the two levels can have."""
        low, high = sorted((self.first_w * self.length_s, self.last_w * self.length_s))
        return min(max(joules, low), high)


def stretches(
    samples: Sequence[Sample], start_s: float, end_s: float, seen_s: float
) -> list[Stretch]:
    """What the samples say of the time between two instants, without a hole.

    Before the first and after the last sample the power is taken as theirs.
    """
    levels = [
        Sample(min(samples[0].time_s, start_s) - 1.0, samples[0].watts),
        *samples,
        Sample(max(samples[-1].time_s, end_s) + 1.0 + seen_s, samples[-1].watts),
    ]
    steps = [after.watts - before.watts for before, after in pairwise(levels)]
    restless = sum(step * step for step in steps) / len(samples)
    found: list[Stretch] = []
    for i, (before, after) in enumerate(pairwise(levels)):
        blind_until_s = max(after.time_s - seen_s, before.time_s)
        blind = max(before.time_s, start_s), min(blind_until_s, end_s)
        if blind[0] < blind[1]:
            span = before.time_s, blind_until_s
            found.append(_blind(blind, span, before.watts, after.watts, _side(steps, i), restless))
        seen = max(blind_until_s, start_s), min(after.time_s, end_s)
        if seen[0] < seen[1]:
            variance = (EVEN * after.watts * (seen[1] - seen[0])) ** 2
            found.append(Stretch(*seen, after.watts, after.watts, after.watts, variance))
    return found


def _side(steps: Sequence[float], i: int) -> int:
    """Where a step between two samples lies: 0 in between, -1 in what the first one saw, 1 in what
    the second one saw. A sample between its two neighbors saw the step itself."""

    def same_way(j: int) -> bool:
        other = steps[j] if 0 <= j < len(steps) else 0.0
        return other * steps[i] > 0 and abs(other) > EVEN * abs(steps[i])

    first, second = same_way(i - 1), same_way(i + 1)
    return 0 if first == second else -1 if first else 1


def _blind(
    part: tuple[float, float],
    span: tuple[float, float],
    before_w: float,
    after_w: float,
    side: int,
    restless: float,
) -> Stretch:
    """A part (s) of a span without samples, in which the power steps from one level to another.

    With nothing else to tell, the step is anywhere in the span.
    """
    start_s, end_s = part
    length_s, width_s, step = end_s - start_s, span[1] - span[0], after_w - before_w
    if side:
        after_s, square_s = (0.0 if side < 0 else length_s), WITHIN * length_s**2 / 12
    else:
        a, b = start_s - span[0], end_s - span[0]
        mean_s = (a * a + (b * b - a * a) / 2 + b * (width_s - b)) / width_s
        square_s = (a**3 + (b**3 - a**3) / 3 + b * b * (width_s - b)) / width_s - mean_s**2
        after_s = mean_s - a
    mean_w = after_w - step * after_s / length_s
    variance = step**2 * square_s + UNSEEN * restless * length_s * width_s / 12
    variance += (EVEN * mean_w * length_s) ** 2
    return Stretch(start_s, end_s, before_w, after_w, mean_w, variance)


def fit(parts: Sequence[Stretch], joules: float) -> list[float]:
    """The energy of each stretch (J), so that the sum is exactly `joules`.

    What the samples lack goes to where they know least, within the levels that they saw; what is
    left when all are at their limits scales every stretch alike.
    """
    fitted = [part.joules for part in parts]
    for _ in range(ROUNDS):
        lacking = joules - sum(fitted)
        movable = [
            i for i, part in enumerate(parts) if part.within(fitted[i] + lacking) != fitted[i]
        ]
        doubt = sum(parts[i].variance for i in movable)
        if not doubt:
            break
        for i in movable:
            fitted[i] = parts[i].within(fitted[i] + lacking * parts[i].variance / doubt)
    total = sum(fitted)
    if total > NOTHING * joules:
        return [energy * joules / total for energy in fitted]
    length_s = sum(part.length_s for part in parts)
    return [joules * part.length_s / length_s for part in parts]
