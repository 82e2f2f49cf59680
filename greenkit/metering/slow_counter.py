"""A counter whose reads are dear, metered within a share of one core.

On some cards one read of the energy counter takes milliseconds of a core, a look at their power a
fiftieth of that. Then the counter is read seldom, right after one of its ticks, and tells how much
energy there was; looks at the power tell how it lay in time. Pure arithmetic: no clock, no sensor,
no thread. All times are seconds of one clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from greenkit.metering.anchors import Anchor, Anchors
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import Allowance
from greenkit.metering.sensor import counter_fault
from greenkit.metering.ticks import PERIOD_S, Ticks

FINE_COUNT_S, FINE_SAMPLE_S = 0.022, 0.007  # how well the instants of ticks are worth knowing
VAGUE_S = 0.04  # an anchor whose instant is not known better than that waits, or is left out
PAIR = 0.95  # of a period: two reads so close tell on which side of the second one a tick lies
WALK = 0.37  # of a period, between two looks at the power while it is not known when it is fresh
GRACE = 0.2  # of a period, for which a tick may be past to be read
SEARCH_S = 1.5  # so long the first reads wait for the ticks to be found
PATIENCE = 2.5  # periods for which an anchor waits for a sample behind it
MARGIN_S = 0.001


@dataclass(frozen=True)
class _Count:
    """One read of the counter: when it began and ended, and what it showed.

    `other_s`: when an earlier read within a tick began, which showed less.
    """

    before_s: float
    after_s: float
    joules: float
    other_s: float | None = None


class SlowCounter:
    """Says what to read when, and draws the curve of what was read."""

    def __init__(self, curve: EnergyCurve, allowance: Allowance) -> None:
        self.curve, self.allowance = curve, allowance
        self.ticks, self.updates = Ticks(FINE_COUNT_S), Ticks(FINE_SAMPLE_S)
        self.cost_s = 0.0  # of a read of the counter
        self._read_s = 0.0  # how long it takes
        self._hurry_s: float | None = None
        self._urgent_s = -math.inf  # reads up to then do not wait for the ticks to be found
        self._stuck_j: float | None = None  # what the counter shows since it stands still
        self._base: float | None = None  # what the counter shows at 0 J
        self._begin_anew()
        curve.beat(PERIOD_S)

    def _begin_anew(self) -> None:
        self._anchors = Anchors(self.curve)
        self._counts: list[_Count] = []  # not on the curve yet
        self._last: _Count | None = None
        self._moved_s = 0.0
        self._paired = False
        self._looked: tuple[float, float] | None = None  # when, watts
        self._pause_until_s = 0.0  # no look at the power before

    # -- what to read next -------------------------------------------------------------------

    def next(self, now_s: float) -> tuple[float, bool]:
        """When the next read is due, and whether it is one of the counter."""
        counter_s, power_s = self._counter_due_s(now_s), self._power_due_s(now_s)
        return min((counter_s, True), (power_s, False), key=lambda due: due[0])

    def hurry(self, time_s: float) -> None:
        """See to it that the curve soon reaches past an instant, whatever a read costs."""
        self._hurry_s = time_s + self.ticks.period_s

    @property
    def wait_s(self) -> float:
        """How long the curve may take to reach past an instant."""
        return SEARCH_S + 3 * self.cost_s / self.allowance.share

    def _power_due_s(self, now_s: float) -> float:
        if now_s < self._pause_until_s or self._looked is None:
            return max(now_s, self._pause_until_s)
        latest_s = self._looked[0]
        walk_s = latest_s + WALK * self.updates.period_s
        if not self.updates.seen(latest_s):
            return walk_s
        low_s, high_s = self.updates.next(latest_s)
        if self.updates.known(latest_s):
            return high_s + MARGIN_S
        looks = (low_s - MARGIN_S, (low_s + high_s) / 2, high_s + MARGIN_S)
        return min([walk_s, *(look for look in looks if look > latest_s + MARGIN_S)])

    def _counter_due_s(self, now_s: float) -> float:
        if self._last is None:
            return now_s
        if self._hurry_s is not None:
            seen = self.ticks.seen(self._hurry_s)
            due_s = self.ticks.next(self._hurry_s)[1] if seen else self._hurry_s
            return max(now_s, due_s + MARGIN_S)
        free_s = self.allowance.free_s
        if self.ticks.known(max(now_s, free_s)):
            spacing_s = self.cost_s / self.allowance.share
            free_s = max(free_s, self._last.before_s + spacing_s)  # what is saved is for searching
            tick_s = self.ticks.next(max(now_s - GRACE * self.ticks.period_s, free_s))[1]
            return max(now_s, tick_s + MARGIN_S)
        return self._search_s(self._last.before_s, now_s)

    def _search_s(self, began_s: float, now_s: float) -> float:
        """When to read in order to find the ticks: half of what may be is ruled out by each pair
        of reads, one before the tick and one in the middle of where it may be."""
        read_s, free_s = self._read_s, self.allowance.free_s
        seen = self.ticks.seen(now_s)
        if seen:
            low_s, high_s = self.ticks.next(now_s)
            middle_s = (low_s + high_s - read_s) / 2
        else:
            middle_s = began_s + self.ticks.period_s / 2
        close = middle_s + read_s - began_s < PAIR * self.ticks.period_s
        if close and (middle_s >= free_s or not self._paired):
            return max(now_s, middle_s)
        for_two_s = max(now_s, free_s + self.cost_s / self.allowance.share)
        if not seen:
            return for_two_s
        return max(now_s, self.ticks.next(for_two_s + 2 * read_s)[0] - 1.5 * read_s)

    # -- what was read -----------------------------------------------------------------------

    def counted(self, before_s: float, after_s: float, joules: float, cost_s: float) -> None:
        """The counter showed so many joules, read between two instants at a cost in core seconds.

        One that went backwards, leapt or stands still is a gap in the curve.
        """
        name = self.curve.info.name
        if not math.isfinite(joules) or joules < 0:
            self.failed(before_s, f"{name} returned {joules:g}")
            return
        if joules == self._stuck_j:
            self._last = _Count(before_s, after_s, joules)
            return
        self._stuck_j, last = None, self._last
        if last is not None:
            most_j = self.curve.info.highest_w * (after_s - self._moved_s + self.ticks.period_s)
            if fault := counter_fault(self.curve.info, joules - last.joules, most_j):
                self.failed(before_s, fault)
                last = None
        self._read_s, self.cost_s = after_s - before_s, cost_s
        moved = last is None or joules > last.joules
        if moved:
            self._moved_s = before_s
        elif self._stands_still(before_s):
            self.failed(before_s, f"{name} stands still")
            self._stuck_j, self._last = joules, _Count(before_s, after_s, joules)
            return
        other_s = None
        self._paired = last is not None and after_s - last.before_s < PAIR * self.ticks.period_s
        if last is not None and self._paired:
            if moved:
                other_s = last.before_s
                self.ticks.saw(last.before_s, after_s, changed=True)
            else:
                self.ticks.saw(last.after_s, before_s, changed=False)
        self._last = _Count(before_s, after_s, joules, other_s)
        if moved:
            self._counts.append(self._last)
        if self._hurry_s is not None and before_s > self._hurry_s:
            self._hurry_s, self._urgent_s = None, before_s
        self._draw()

    def sampled(self, time_s: float, watts: float) -> None:
        """The power was so many watts at an instant; watts that cannot be are not looked at."""
        if not 0 <= watts <= self.curve.info.highest_w:
            self.looked_in_vain(time_s)
            return
        came_s: float | None = time_s
        if self._looked is not None:
            before_s, before_w = self._looked
            if watts != before_w and time_s - before_s < PAIR * self.updates.period_s:
                self.updates.saw(before_s, time_s, changed=True)
                self.ticks.adopt(self.updates)
            came_s = self._came_s(before_s, time_s, changed=watts != before_w)
        if came_s is not None:
            self._anchors.sample(came_s, watts)
        self._looked = (time_s, watts)
        self.curve.sampled_w = watts
        self._draw()

    def looked_in_vain(self, time_s: float) -> None:
        """The device did not tell its power at an instant."""
        self._pause_until_s = time_s + self.updates.period_s

    def _came_s(self, before_s: float, time_s: float, *, changed: bool) -> float | None:
        """When the sample came that was seen at an instant, and not at the look before; None where
        it may be the same as then."""
        if self.updates.known(time_s):
            return sum(self.updates.last(time_s)) / 2
        if changed:
            return (before_s + time_s) / 2
        held_s = self._anchors.samples[-1].time_s + self.updates.period_s
        return held_s if held_s < time_s - self.updates.period_s / 2 else None

    def failed(self, time_s: float, reason: str) -> None:
        """A read failed: what lies between the last anchor and the next is not measured."""
        last = self._anchors.last
        self.curve.fail(last.time_s if last else time_s, reason)
        self._base = None
        self._begin_anew()

    def _stands_still(self, time_s: float) -> bool:
        stall_s = self.curve.info.stall_s
        return stall_s is not None and time_s - self._moved_s > stall_s

    # -- the curve ---------------------------------------------------------------------------

    def _draw(self) -> None:
        """Put those reads on the curve whose ticks are known, once there are samples behind."""
        latest_s = max(self._last.after_s if self._last else 0.0, (self._looked or (0.0, 0.0))[0])
        while self._counts:
            count = self._counts[0]
            low_s, high_s = self._tick_of(count)
            searching = latest_s - count.before_s < SEARCH_S and count.before_s > self._urgent_s
            if high_s - low_s > VAGUE_S and searching:
                return
            behind = self._anchors.samples[-1:] and self._anchors.samples[-1].time_s >= high_s
            if not behind and latest_s < high_s + PATIENCE * self.updates.period_s:
                return
            self._counts.pop(0)
            if high_s - low_s > VAGUE_S and self.ticks.known(count.before_s) and self._anchors.last:
                continue  # it may be of either of two ticks
            self._anchor((low_s + high_s) / 2, count.joules, (high_s - low_s) / 2)

    def _anchor(self, time_s: float, shown_j: float, late_s: float) -> None:
        if self._base is None:
            self._base = shown_j - (self.curve.joules[-1] if self.curve.joules else 0.0)
            self.curve.end_gap(time_s)
        anchor = Anchor(time_s, shown_j - self._base, late_s)
        if self._anchors.last is None:
            self._anchors.begin(anchor)
        elif time_s > self._anchors.last.time_s:
            self._anchors.put(anchor, self.updates.period_s)

    def _tick_of(self, count: _Count) -> tuple[float, float]:
        """The interval of the tick whose energy a read of the counter shows."""
        if not self.ticks.seen(count.before_s):
            return count.before_s - self.ticks.period_s, count.after_s
        if count.other_s is not None:
            return self.ticks.near((count.other_s + count.after_s) / 2)
        last, coming = self.ticks.last(count.before_s), self.ticks.next(count.before_s)
        if coming[0] >= count.after_s:
            return last
        return last[0], min(coming[1], count.after_s)
