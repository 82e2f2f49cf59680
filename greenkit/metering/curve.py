"""One cumulative-energy curve per sensor; a window is two instants on it.

Everything here is arithmetic on numbers that were read earlier: no clock, no sensor, no thread.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from heapq import nsmallest
from itertools import pairwise
from statistics import fmean

from greenkit.foundations import Provenance, Reading
from greenkit.foundations.provenance import ErrorSource, Span
from greenkit.metering.knots import Knots
from greenkit.metering.sensor import Kind, SensorError

NEAR, NEAR_S = 3, 0.3  # stretches and seconds on either side that tell how low the power goes
MANY_DROPPED = 0.1  # of the samples of a window: what is so often wrong is not right in between
UNSEEN_AVERAGE = 0.15  # of a 1 s average: its 1 s windows err by 21 % (RTX 3090 against a meter)


@dataclass(frozen=True)
class Edge:
    """Energy of the curve up to one instant: best value, its errors, and hard bounds, in joules."""

    joules: float
    half_width: float
    jitter: float
    doubt: float
    low: float
    high: float


class EnergyCurve(Knots):
    """Cumulative energy of one sensor: a line through the knots, on which windows are drawn.

    The energy of a window is the difference of two points on the line, so windows add up exactly,
    nest and overlap freely, and can be drawn after the run. Derived in: Lab 01.
    """

    machine = ""

    @property
    def resolution_s(self) -> float:
        """The shortest window worth a ±: two ticks."""
        return 2 * max(self.tick_s, self.info.average_s)

    @property
    def watts_now(self) -> float | None:
        """The latest power, or None before there is one and while the sensor fails."""
        if len(self.times) < 2 or self.trouble is not None:
            return None
        if self.sampled_w is not None:
            return self.sampled_w
        return self.watts[-1] if self.watts else self._power(len(self.times) - 2)

    def power(self) -> tuple[list[float], list[float]]:
        """The trace: knot times (s) and the mean power of the stretch that ends there (W)."""
        count = len(self.times)
        return self.times[1:count], [self._power(i) for i in range(count - 1)]

    def part(self, start_s: float, end_s: float, *, margin: int = 0) -> EnergyCurve:
        """The knots between two instants, and `margin` knots on either side, as a curve."""
        first = max(0, bisect_left(self.times, start_s) - margin)
        last = bisect_right(self.times, end_s) + margin
        part = EnergyCurve(self.info, self.identity)
        for name in ("times", "joules", "lateness", "noise", "doubt", "watts"):
            setattr(part, name, getattr(self, name)[first:last])
        part.gaps = [gap for gap in self.gaps if gap[0] < end_s and start_s < gap[1]]
        part.dropped = [slip for slip in self.dropped if start_s <= slip[0] <= end_s]
        part.machine = self.machine
        part.beat(self.tick_s)
        return part

    def _power(self, i: int) -> float:
        width = self.times[i + 1] - self.times[i]
        return (self.joules[i + 1] - self.joules[i]) / width if width > 0 else 0.0

    def _stretch(self, time_s: float) -> int:
        return min(max(bisect_right(self.times, time_s) - 1, 0), len(self.times) - 2)

    def _near(self, start_s: float, end_s: float) -> list[float]:
        """Watts around two instants: of the samples, or of the stretches between knots."""
        first = min(self._stretch(start_s) - NEAR, self._stretch(start_s - NEAR_S))
        last = max(self._stretch(end_s) + NEAR, self._stretch(end_s + NEAR_S))
        if self.watts:
            return self.watts[max(0, first) : last + 2]
        return [self._power(i) for i in range(max(0, first), min(len(self.times) - 2, last) + 1)]

    # -- windows -----------------------------------------------------------------------------

    def edge(self, time_s: float) -> Edge:
        """Energy up to an instant. Raises SensorError where the knots say nothing of it."""
        i = self._checked_stretch(time_s)
        start, end = self.times[i], self.times[i + 1]
        near = self._near(time_s, time_s)
        lowest, next_lowest = nsmallest(2, near) if len(near) > 1 else (near[0], near[0])
        floor = max(0.0, 2 * lowest - next_lowest)  # it may have been lower still
        best = self._energy_until(time_s, i)
        low = self.joules[i] + floor * (time_s - start)
        high = self.joules[i + 1] - floor * (end - time_s)
        doubt = math.sqrt(max(self.doubt[i], self.doubt[i + 1]))
        late = max((self.lateness[i] + self.lateness[i + 1]) / 2, self._unseen_s) / math.sqrt(3)
        return Edge(
            best,
            max(best - low, high - best, 0.0),
            max(near) * math.hypot(late, UNSEEN_AVERAGE * self.info.average_s),
            doubt,
            self._known_by(time_s) - 2 * doubt,
            self._reached_after(time_s, max(near)) + 2 * doubt,
        )

    @property
    def _unseen_s(self) -> float:
        """Half a poll: of what moves faster than that a counter's ticks tell nothing."""
        return self.info.poll_s / 2 if self.info.kind is Kind.TICKS else 0.0

    def _checked_stretch(self, time_s: float) -> int:
        name, times = self.info.name, self.times
        if len(times) < 2:
            raise SensorError(f"{name} gave fewer than two values: nothing to draw a window on")
        if time_s < times[0]:
            raise SensorError(f"not measured: {name} was not read yet when this window began")
        if time_s > times[-1]:
            raise SensorError(f"not measured: {name} gave no value after this window ended")
        i = self._stretch(time_s)
        width = times[i + 1] - times[i]
        if width > max(self.gap_s, 3 * self.tick_s):
            raise SensorError(f"not measured: {name} was not read for {width:.2g} s around an edge")
        return i

    def _energy_until(self, time_s: float, i: int) -> float:
        """Energy up to an instant in stretch `i`.

        Within a tick the power is taken as level; where it lies between that of the two ticks
        beside it, as a step from the one to the other, at the instant that its energy tells.
        """
        elapsed, here = time_s - self.times[i], self._power(i)
        if self.info.kind is Kind.TICKS and 0 < i < len(self.times) - 2:
            before, after = self._power(i - 1), self._power(i + 1)
            if min(before, after) < here < max(before, after):
                width = self.times[i + 1] - self.times[i]
                step = width * (here - after) / (before - after)
                return self.joules[i] + before * min(elapsed, step) + after * max(0, elapsed - step)
        return self.joules[i] + here * elapsed

    def _known_by(self, time_s: float) -> float:
        """Energy surely spent by an instant: that of the last knot that surely lies before it."""
        i = bisect_right(self.times, time_s)
        while i > 0 and self.times[i - 1] + self.lateness[i - 1] > time_s:
            i -= 1
        return self.joules[i - 1] if i > 0 else 0.0

    def _reached_after(self, time_s: float, top_w: float) -> float:
        """Energy surely not exceeded at an instant: that of the first knot surely after it."""
        i = bisect_left(self.times, time_s)
        while i < len(self.times) and self.times[i] - self.lateness[i] < time_s:
            i += 1
        if i < len(self.times):
            return self.joules[i]
        return self.joules[-1] + top_w * self.lateness[-1]

    def energy(self, start_s: float, end_s: float) -> float:
        """Joules between two instants, without interval; `reading` gives the whole value."""
        return self.edge(end_s).joules - self.edge(start_s).joules

    def reading(self, start_s: float, end_s: float) -> Reading:
        """The window between two instants as a Reading.

        Raises SensorError where the sensor failed, stood still or went backwards inside it, and
        ValueError where the window ends before it starts.
        """
        if not end_s >= start_s:
            raise ValueError(f"a window ends after it starts: got {start_s} s to {end_s} s")
        self._refuse_gaps(start_s, end_s)
        first, last = self.edge(start_s), self.edge(end_s)
        joules, info = max(0.0, last.joules - first.joules), self.info
        bounds = None
        if end_s - start_s < self.resolution_s and info.factor == 1:
            bounds = self._bounds(start_s, end_s, first, last)
        elif joules == 0 and info.provenance in (Provenance.MEASURED, Provenance.REPLAYED):
            raise SensorError(f"not measured: {info.name} saw no energy in {end_s - start_s:.2g} s")
        return Reading(
            joules=joules,
            duration_s=end_s - start_s,
            sensor=info.name,
            device=info.device,
            domain=info.domain,
            provenance=info.provenance,
            method=info.method,
            errors=self._errors((start_s, end_s), first, last),
            factor=info.factor,
            bounds=bounds,
            resolution_s=self.resolution_s,
            spans=(Span(self.identity, info.domain, start_s, end_s, self.machine),),
            note=info.note,
        )

    def _errors(
        self, window: tuple[float, float], first: Edge, last: Edge
    ) -> dict[ErrorSource, float]:
        """Each independent cause of error, one standard deviation in joules.

        2u of an edge is √2 times its half-width, so that two edges at their worst are covered.
        """
        info, errors = self.info, dict[ErrorSource, float]()
        stretches = [self._stretch(time_s) for time_s in window]
        if info.gain:
            gain = info.gain * (last.joules - first.joules)
            errors[ErrorSource("gain", f"{info.name}@{info.device}")] = gain
        for sign, time_s, edge in ((-1, window[0], first), (1, window[1], last)):
            cause = ErrorSource("edge", self.identity, (time_s,))
            size = math.hypot(
                edge.half_width / math.sqrt(2), edge.jitter, edge.doubt, info.quantum_j
            )
            errors[cause] = errors.get(cause, 0.0) + sign * size
        variance = self.noise[stretches[1]] - self.noise[stretches[0]]
        if variance > 0:
            errors[ErrorSource("noise", self.identity, window)] = math.sqrt(variance)
        if info.kind is Kind.POWER:
            held = self.tick_s if self.tick_s > 1.5 * info.poll_s else 0.0
            change = abs(self._power(stretches[1]) - self._power(stretches[0]))
            if lag := change * (info.average_s + held) / 2:
                errors[ErrorSource("lag", self.identity, window)] = lag
        return errors

    def _bounds(self, start_s: float, end_s: float, first: Edge, last: Edge) -> tuple[float, float]:
        if self.info.kind is not Kind.POWER:
            return max(0.0, last.low - first.high), last.high - first.low
        average_s, length_s = self.info.average_s, end_s - start_s
        near = self._near(start_s, end_s + average_s)
        step = fmean(abs(b - a) for a, b in pairwise(near))  # what may come between two samples
        low, high = max(0.0, min(near) - step), max(near) + step
        return low * max(0.0, length_s - average_s), high * (length_s + average_s)

    def _refuse_gaps(self, start_s: float, end_s: float) -> None:
        if self.clock_fault:
            raise SensorError(f"not measured: {self.clock_fault}, so instants no longer mean one")
        gaps = list(self.gaps)
        if self.trouble is not None:
            gaps.append((self.trouble[0], math.inf, self.trouble[1]))
        for gap_start, gap_end, reason in gaps:
            if gap_start < end_s and start_s < gap_end:
                raise SensorError(f"not measured: {reason} during this window")
        first, last = (bisect_left(self.dropped, (time_s,)) for time_s in (start_s, end_s))
        kept = bisect_right(self.times, end_s) - bisect_left(self.times, start_s)
        if last - first > max(1, MANY_DROPPED * (kept + last - first)):
            raise SensorError(
                f"not measured: {last - first} of {kept + last - first} samples of "
                f"{self.info.name} cannot be: {self._told(self.dropped[first][1])}"
            )

    def peaks(self, prominence_w: float) -> list[tuple[float, float]]:
        """Local maxima of the trace as (time s, watts) that stand out by `prominence_w` or more."""
        from greenkit.metering.peaks import peaks

        return peaks(*self.power(), prominence_w)
