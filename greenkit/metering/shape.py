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
        unseen_until_s = max(after.time_s - seen_s, before.time_s)
        for begin_s, until_s, seen in (
            (before.time_s, unseen_until_s, False),
            (unseen_until_s, after.time_s, True),
        ):
            first_s, last_s = max(begin_s, start_s), min(until_s, end_s)
            if first_s >= last_s:
                continue
            if seen:
                first_w, mean_w, square = after.watts, after.watts, 0.0
            else:
                first_w = before.watts
                mean_w, square = _unseen(steps, i, before.watts)
                square += UNSEEN * restless
            width_s = until_s - begin_s
            variance = (square / 12 + (EVEN * mean_w) ** 2) * width_s * (last_s - first_s)
            found.append(Stretch(first_s, last_s, first_w, after.watts, mean_w, variance))
    return found


def _unseen(steps: Sequence[float], i: int, before_w: float) -> tuple[float, float]:
    """Mean power between two samples, and the square of the step that lies there (W²).

    A sample between its two neighbors saw the step itself: then what lies beside it is level.
    """
    step = steps[i]
    saw_first = i > 0 and step * steps[i - 1] > 0
    saw_last = i + 1 < len(steps) and step * steps[i + 1] > 0
    if saw_first == saw_last:
        return before_w + step / 2, step**2
    return before_w + (step if saw_first else 0.0), WITHIN * step**2


def fit(parts: Sequence[Stretch], joules: float) -> list[float]:
    """The energy of each stretch (J), so that the sum is exactly `joules`.

    What the samples lack goes first to where they know least, within the levels they saw; the
    rest scales all.
    """
    lacking = joules - sum(part.joules for part in parts)
    doubt = sum(part.variance for part in parts)
    fitted = [p.within(p.joules + lacking * p.variance / doubt) for p in parts] if doubt else []
    total = sum(fitted)
    if total > 0:
        return [energy * joules / total for energy in fitted]
    length_s = sum(part.length_s for part in parts)
    return [joules * part.length_s / length_s for part in parts]


def step_at(part: Stretch, joules: float) -> tuple[float, float] | None:
    """Where the step of a stretch lies, by its energy: (seconds after its start, joules until).

    None where the power is level, or its mean outside of both levels.
    """
    mean_w = joules / part.length_s
    if not min(part.first_w, part.last_w) < mean_w < max(part.first_w, part.last_w):
        return None
    after_s = part.length_s * (mean_w - part.last_w) / (part.first_w - part.last_w)
    return after_s, part.first_w * after_s
