"""Repeat a call until its energy is sure enough, or until a cap is reached, and say which."""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

from greenkit.foundations import Quantity, Reading
from greenkit.metering.calls import refuse_lazy, refuse_unfinished
from greenkit.metering.meter import CLOSED, EnergyMeter, NotMeasuredError

CHECK_S = 0.1


@dataclass(frozen=True)
class Measurement:
    """A repeated call: the reading of all repeats together, and whether it is sure enough."""

    reading: Reading
    repeats: int
    seconds_each: tuple[float, ...]
    reached: bool
    stopped_by: str

    @property
    def per_call(self) -> Quantity:
        """Energy of one call. Its ± holds the random and the systematic part."""
        return self.reading.per(self.repeats, "call")

    @property
    def scatter(self) -> float:
        """How much single calls differ in time: relative standard deviation, 0 for one call."""
        if self.repeats < 2:
            return 0.0
        return statistics.stdev(self.seconds_each) / statistics.mean(self.seconds_each)

    def __str__(self) -> str:
        parts = [f"{self.per_call} over {self.repeats} calls"]
        if self.reading.resolved and self.reading.factor == 1:
            systematic = self.reading.systematic / self.reading.joules
            parts.append(
                f"random part ± {2 * _relative_random(self.reading):.1%}, systematic part "
                f"± {2 * systematic:.1%} (repeats do not shrink it)"
            )
        parts.append(f"single calls scatter by {self.scatter:.0%} in time")
        parts.append(
            f"{'stopped' if self.reached else 'not sure enough, stopped'} by {self.stopped_by}"
        )
        return "; ".join(parts)


def measure(
    function: Callable[[], object],
    *,
    rel: float = 0.05,
    min_repeats: int = 5,
    max_repeats: int = 1_000_000,
    max_seconds: float = 30.0,
    meter: EnergyMeter | None = None,
) -> Measurement:
    """Repeat a call until the random part of its energy is below `rel` (one standard deviation).

    After one call to warm up, the calls run back to back, so the errors at the edges they share
    cancel. The systematic part of the sensor does not shrink with repeats: it is reported, not
    promised away. On reaching `max_repeats` or `max_seconds` the result says so. Derived in:
    Lab 01.

    Raises ValueError for a `rel` outside 0 to 1 or a cap that allows no call, TypeError for an
    async function or a generator, whose calls do not do the work, RuntimeError for a closed meter
    and NotMeasuredError where there is no energy value.
    """
    refuse_lazy(function)
    refuse_closed(meter)
    refuse_bad_counts(min_repeats=min_repeats, max_repeats=max_repeats)
    if not 0 < rel < 1:
        raise ValueError(f"rel is a relative error between 0 and 1, e.g. 0.05; got {rel}")
    if max_repeats < 1 or not max_seconds > 0:
        raise ValueError(f"the caps allow no call: {max_repeats} repeats, {max_seconds} s")
    if meter is None:
        with EnergyMeter() as own:
            return measure(
                function,
                rel=rel,
                min_repeats=min_repeats,
                max_repeats=max_repeats,
                max_seconds=max_seconds,
                meter=own,
            )
    if not meter.curves:
        meter.between(0.0, 0.0)  # raises, with all reasons
    refuse_unfinished(function, function())
    marks = [now_s(meter)]
    check_s = marks[0] + CHECK_S
    reading, stopped_by = None, ""
    while not stopped_by:
        function()
        marks.append(now_s(meter))
        if marks[-1] >= check_s:
            check_s = marks[-1] + CHECK_S
            # As far as the curves are known: to wait for them here would add idle energy.
            known = bisect_right(marks, meter.settled_s)
            if known > min_repeats and (reading := _sure(meter, marks[:known], rel)):
                stopped_by, marks = f"rel={rel:g}", marks[:known]
        if not stopped_by and len(marks) > max_repeats:
            stopped_by = f"max_repeats={max_repeats}"
        if not stopped_by and marks[-1] - marks[0] >= max_seconds:
            stopped_by = f"max_seconds={max_seconds:g}"
    last = reading or _sure(meter, marks, rel)
    each = tuple(b - a for a, b in pairwise(marks))
    return Measurement(
        last or meter.between(marks[0], marks[-1]), len(each), each, last is not None, stopped_by
    )


def refuse_closed(meter: EnergyMeter | None) -> None:
    """Raise TypeError for what is no meter, and RuntimeError for one that is closed."""
    if not (meter is None or hasattr(meter, "curves")):
        raise TypeError(f"meter is an open EnergyMeter, got {meter!r:.60}")
    if isinstance(meter, EnergyMeter) and not meter.is_open:
        raise RuntimeError(CLOSED)


def refuse_bad_counts(**counts: object) -> None:
    """Raise TypeError for how many times to do something that is no whole number."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool):
            raise TypeError(f"{name} is a whole number, got {count!r:.40}")


def now_s(meter: EnergyMeter) -> float:
    """The instant at which the device has done all it was given, in seconds."""
    meter.synchronize()
    return time.perf_counter()


def _sure(meter: EnergyMeter, marks: list[float], rel: float) -> Reading | None:
    """The reading of all these calls if it is sure enough."""
    try:
        reading = meter.between(marks[0], marks[-1])
    except NotMeasuredError:
        return None
    return reading if reading.resolved and _relative_random(reading) <= rel else None


def _relative_random(reading: Reading) -> float:
    return reading.random / reading.joules if reading.joules > 0 else math.inf
