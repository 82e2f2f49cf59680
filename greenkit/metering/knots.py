"""What a sensor said, kept as the knots of a line that only rises."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from statistics import fmean, median

from greenkit.metering.sensor import Kind, SensorInfo, counter_fault

BEATS = 60  # how many intervals tell the tick
HELD_POLLS = 5  # a power value may be up to this many polls old (cards refresh it every 100 ms)
LATELY = 25
CAUGHT = 5  # ticks in a row
GAP_POLLS, GAP_S = 10, 1.0


class Knots:
    """Instants at which the energy so far is known: ticks of a counter, or power samples.

    One thread appends, others may look: `times` grows last. A knot takes about 100 bytes, so ten a
    second make 90 MB a day.
    """

    def __init__(self, info: SensorInfo, identity: str = "") -> None:
        self.info = info
        self.identity = identity or f"{info.name}@{info.device}"
        self.times: list[float] = []  # s
        self.joules: list[float] = []  # J since the first read
        self.lateness: list[float] = []  # s, half-width of each knot's instant
        self.noise: list[float] = []  # J², cumulative variance of the stretches between knots
        self.doubt: list[float] = []  # J², variance of a knot between two that were counted
        self.watts: list[float] = []  # W, the samples of a power sensor
        self.gaps: list[tuple[float, float, str]] = []  # stretches without valid data
        self.dropped: list[tuple[float, float]] = []  # when (s), and the power (W) that cannot be
        self.sampled_w: float | None = None  # W, the latest look beside a counter
        self.clock_fault = ""
        self._last: tuple[float, float] | None = None  # time and value of the last good read
        self._failing: tuple[float, str] | None = None  # since when, and why
        self._suspect: float | None = None  # J, what the counter showed last and cannot have
        self._base = 0.0  # the counter's value at 0 J
        self._begun_s = math.nan  # first read, or first after a gap
        self._moved_s = math.nan  # when the value last changed
        self._latest_s = -math.inf  # latest read or failure
        self._waiting: tuple[float, float, float] | None = None  # the first tick, till the second
        self._beats: deque[float] = deque(maxlen=BEATS)
        self._tick_s = math.inf

    # -- feeding -----------------------------------------------------------------------------

    def push(self, time_s: float, value: float, late_s: float = 0.0) -> None:
        """Add one read: joules so far, or watts, as `info.kind` says.

        The value is of an instant within `late_s` of `time_s`. One that the device can never have
        drawn is dropped, where the values around it show that it is a slip.
        """
        power = self.info.kind is Kind.POWER
        if not math.isfinite(value) or value < 0:
            self.fail(time_s, f"{self.info.name} returned {value:g}")
            return
        if time_s <= self._latest_s:
            if time_s < self._latest_s:
                self.clock_fault = f"the clock went back by {self._latest_s - time_s:.3g} s"
            return
        self._latest_s = time_s
        if power and value > self.info.highest_w:
            self._drop(time_s, value)
            return
        if self.info.kind is not Kind.TICKS:
            self.end_gap(time_s)
        if self._last is None:
            self._begin(time_s, value, late_s)
        elif power:
            self._add_power(time_s, value, *self._last)
        elif reason := self._impossible(time_s, value, self._last[1]):
            if self._suspect is None:  # the next value tells whether it is a slip
                self._suspect = value
                return
            self.fail(time_s, reason)
            if self.info.kind is not Kind.TICKS:
                self.end_gap(time_s)
            self._begin(time_s, value, late_s)
        else:
            self._add_joules(time_s, value, late_s, *self._last)
        self._last, self._suspect = (time_s, value), None

    def fail(self, time_s: float, reason: str) -> None:
        """Note that the sensor could not be read; windows over this stretch are not measured."""
        if self._failing is None:
            self._failing = (self._last[0] if self._last else time_s, reason)
        self._last = self._suspect = None

    def _drop(self, time_s: float, watts: float) -> None:
        """A power that cannot be: the samples around it tell the energy, if they are near."""
        self.dropped.append((time_s, watts))
        if self._last is None or time_s - self._last[0] > self.gap_s:
            self.fail(time_s, self._told(watts))

    def _told(self, watts: float) -> str:
        return f"{self.info.name} told {watts:.3g} W and can draw {self.info.highest_w:.3g} W"

    def _impossible(self, time_s: float, joules: float, previous: float) -> str:
        """Why a counter cannot show so much after what it showed before; empty where it can.

        A leap that the counter takes back at once is a slip of one read, one that it keeps is not.
        """
        late_s = self.info.poll_s
        if self.info.kind is Kind.TICKS:  # what a tick shows was drawn since the one before it
            late_s = max(late_s, self.tick_s if math.isfinite(self.tick_s) else GAP_S)
        most_j = self.info.highest_w * (time_s - self._moved_s + late_s)
        kept = self._suspect is not None and previous < self._suspect <= joules
        return counter_fault(self.info, joules - previous, 0.0 if kept else most_j)

    def end_gap(self, time_s: float) -> None:
        """Valid data again: what lies between the failure and this instant is a gap."""
        if self._failing is not None:
            since, reason = self._failing
            self.gaps.append((since, time_s, reason))
            self._failing = None

    def _begin(self, time_s: float, value: float, late_s: float) -> None:
        """The first read, or the first after a gap: energy counts on from where it was."""
        so_far = self.joules[-1] if self.joules else 0.0
        self._base, self._begun_s, self._moved_s = value - so_far, time_s, time_s
        if self.info.kind is Kind.TICKS:
            self._waiting = None
        else:
            self.knot(time_s, so_far, late_s, watts=value)

    def knot(
        self,
        time_s: float,
        joules: float,
        late_s: float,
        variance: float = 0.0,
        watts: float = 0.0,
        *,
        doubt: float = 0.0,
    ) -> None:
        """Append a knot: an instant within `late_s` of `time_s`, and the energy until then.

        `variance` (J²) is that of the stretch since the last knot, `doubt` (J²) that of this knot
        alone, where it lies between two that the counter told.
        """
        so_far = self.noise[-1] if self.noise else 0.0
        self.noise.append(so_far + variance if variance else so_far)
        self.joules.append(joules)
        self.lateness.append(late_s)
        self.doubt.append(doubt)
        if self.info.kind is Kind.POWER:
            self.watts.append(watts)
        self.times.append(time_s)

    def beat(self, interval_s: float) -> None:
        """Note the interval between two fresh values, in seconds."""
        self._beats.append(interval_s)
        middle = median(self._beats)  # of the plain mean a late read would make too much
        self._tick_s = fmean(beat for beat in self._beats if beat <= 1.5 * middle)

    def _add_power(self, time_s: float, watts: float, before: float, previous: float) -> None:
        width = time_s - before
        slips = self.dropped and self.dropped[-1][0] > before
        if width > self.gap_s:
            reason = f"no sample of {self.info.name} for {width:.2g} s"
            self.gaps.append((before, time_s, self._told(self.dropped[-1][1]) if slips else reason))
            self._begin(time_s, watts, 0.0)
            return
        spread = 0.0  # W s, between the extremes of what the energy may have been
        if watts != previous:  # it changed at some instant since the older value was first seen
            held = max(width, min(time_s - self._moved_s, HELD_POLLS * self.info.poll_s))
            self.beat(held)
            spread = abs(watts - previous) * max(width, min(held, 1.5 * self._tick_s))
            self._moved_s = time_s
        if width > 2 * self.info.poll_s:  # a late read: anything seen lately may have come between
            lately = [*self.watts[-LATELY:], watts]
            spread = max(spread, (max(lately) - min(lately)) * width)
        if slips:  # between nothing and the highest seen lately, and an edge in it is as unsure
            spread = max(spread, max(*self.watts[-LATELY:], watts) * width)
        joules = self.joules[-1] + (watts + previous) / 2 * width
        # The variance of a U-shaped distribution: steps and bursts err towards the extremes.
        variance = spread**2 / 8
        self.knot(time_s, joules, 0.0, variance, watts, doubt=variance if slips else 0.0)

    def _add_joules(
        self, time_s: float, value: float, late_s: float, before: float, previous: float
    ) -> None:
        joules, moved = value - self._base, value > previous
        if moved and self.info.stall_s is not None and time_s - self._moved_s > self.info.stall_s:
            self.gaps.append((self._moved_s, time_s, f"{self.info.name} stood still"))
        if self.info.kind is Kind.COUNTER:
            self.knot(time_s, joules, late_s)
            if moved:
                self.beat(time_s - self._moved_s)
        elif moved:
            self._add_tick(time_s, joules, late_s, max(before, time_s - self.tick_s))
        elif self.info.stall_s is None:
            self._rest(time_s)
        if moved:
            self._moved_s = time_s

    def _add_tick(self, time_s: float, joules: float, late_s: float, earliest_s: float) -> None:
        """A tick came between the last read and this one, and no longer than one tick ago."""
        middle, late = (earliest_s + time_s) / 2, (time_s - earliest_s) / 2 + late_s
        if self.times:
            if self._failing is None:
                self.beat(middle - self.times[-1])
            self.end_gap(middle + late)
            self.knot(middle, joules, late)
        elif self._waiting is None:
            self._waiting = (middle, joules, late)
        else:  # with two ticks the one before the first read is known, too: it was the 0 J
            first_s, _, first_late = self._waiting
            self.beat(middle - first_s)
            self.end_gap(first_s + first_late)
            zero_s = min(2 * first_s - middle, self._begun_s)
            for knot in ((zero_s, 0.0, first_late), self._waiting, (middle, joules, late)):
                self.knot(*knot)

    def _rest(self, time_s: float) -> None:
        """A counter that rests for more than 1.5 ticks has seen a tick without energy."""
        if self.times and self._failing is None:
            ticks = math.floor((time_s - self.times[-1]) / self.tick_s - 0.5)
            if ticks >= 1:
                self.knot(self.times[-1] + ticks * self.tick_s, self.joules[-1], self.lateness[-1])

    # -- what is known -----------------------------------------------------------------------

    @property
    def tick_s(self) -> float:
        """The probed interval between fresh values in seconds ; inf before there is one."""
        if self._beats:
            return self._tick_s
        recent = self.times[-BEATS:]
        if len(recent) < 2:
            return math.inf
        return median(b - a for a, b in pairwise(recent))

    @property
    def gap_s(self) -> float:
        """How far apart two samples of power may lie to say anything of the time between."""
        return max(GAP_S, GAP_POLLS * self.info.poll_s)

    @property
    def settled_s(self) -> float:
        """The instant up to which windows no longer change, in seconds (-inf: none yet)."""
        after = 2 if self.info.kind is Kind.TICKS else 1  # a tick's shape needs the next one, too
        return self.times[-after] if len(self.times) > after else -math.inf

    @property
    def trouble(self) -> tuple[float, str] | None:
        """Since when (s) the sensor gives nothing, and why; None while it is well."""
        if self._failing is not None:
            return self._failing
        stall = self.info.stall_s
        if stall is not None and self._last is not None and self._last[0] - self._moved_s > stall:
            return self._moved_s, f"{self.info.name} stands still"
        return None

    def next_read_s(self, now_s: float) -> float:
        """When to read next: every `poll_s`, and around the instant at which a tick is due.

        A tick that is caught within a tenth of `poll_s` is known that much better. Of a counter
        whose last ticks were all caught, one look on the way to the next is enough.
        """
        poll_s, fine = self.info.poll_s, self.info.poll_s / 10
        if self.info.kind is not Kind.TICKS or not self.times or self.tick_s < 2 * poll_s:
            return now_s + poll_s
        due = self.times[-1] + self.tick_s
        if due - fine <= now_s < due + 5 * fine:
            return now_s + fine
        if len(self.lateness) >= CAUGHT and max(self.lateness[-CAUGHT:]) <= fine:
            poll_s = max(poll_s, self.tick_s / 2)
        return min(now_s + poll_s, due - fine) if now_s < due - fine else now_s + self.info.poll_s
