"""When a sensor ticks: the interval that holds its ticks, narrowed by every pair of reads."""

from __future__ import annotations

import math

PERIOD_S, DRIFT = 0.1004, 0.008  # before it is known: H100 99.96 ms, RTX 3090 100, A100 101
LOST = 0.02  # after the ticks were not where they should have been
STEADY = 1e-4  # what a period that was seen for long may still differ by
JITTER_S = 0.0005
WIDE = 0.6  # of a period: an interval so wide says nothing any more
BASELINE = 10  # periods, at least, that tell how long one is


class Ticks:
    """Ticks at equal distances, of which one is known to lie between two instants.

    Two reads less than a period apart tell on which side of the second one a tick lies: the value
    has changed, or not yet. So a few reads halve the interval until it is a few milliseconds wide,
    and reads far apart then tell the period. An interval of `fine_s` is narrow enough. All
    instants and lengths in seconds.
    """

    def __init__(self, fine_s: float, period_s: float = PERIOD_S) -> None:
        self.period_s, self.fine_s = period_s, fine_s
        self.lost = 0  # how often the ticks were not where they should have been
        self.drift_s = DRIFT * period_s  # what the period may differ by
        self._low_s = self._high_s = math.nan  # the interval that holds one tick
        self._first: tuple[float, float] | None = None  # as narrow, long ago: to its period

    def known(self, time_s: float) -> bool:
        """True where the interval is narrow enough to tell which tick a value at `time_s` is of."""
        low, high = self.near(time_s)
        return high - low <= self.fine_s  # not where nothing was seen yet: both are nan

    def seen(self, time_s: float) -> bool:
        """True where the interval of a tick near that instant still says something."""
        low, high = self.near(time_s)
        return high - low <= WIDE * self.period_s

    def near(self, time_s: float) -> tuple[float, float]:
        """The interval of the tick closest to an instant; nan before anything was seen."""
        if math.isnan(self._low_s):
            return math.nan, math.nan
        number = round((time_s - (self._low_s + self._high_s) / 2) / self.period_s)
        spread = abs(number) * self.drift_s + (JITTER_S if number else 0.0)
        shift = number * self.period_s
        return self._low_s + shift - spread, self._high_s + shift + spread

    def next(self, time_s: float) -> tuple[float, float]:
        """The interval of the first tick that may still come at an instant where it is `seen`."""
        low, high = self.near(time_s)
        while high < time_s:
            low, high = self.near((low + high) / 2 + self.period_s)
        return low, high

    def last(self, time_s: float) -> tuple[float, float]:
        """The interval of the latest tick that has surely come at an instant where it is `seen`."""
        low, high = self.near(time_s)
        while high > time_s:
            low, high = self.near((low + high) / 2 - self.period_s)
        return low, high

    def saw(self, before_s: float, after_s: float, *, changed: bool) -> None:
        """Two reads less than a period apart: a tick came between them, or none did."""
        if not changed:
            before_s, after_s = after_s, before_s + self.period_s + self.drift_s
        if not after_s > before_s:
            return
        middle_s = (before_s + after_s) / 2
        if not self.seen(middle_s):
            self._low_s, self._high_s = before_s, after_s
            return
        low, high = self.near(middle_s)
        low, high = max(low, before_s), min(high, after_s)
        if low > high:
            self.lost += 1
            self.drift_s = LOST * self.period_s
            self._low_s, self._high_s, self._first = before_s, after_s, None
        else:
            self._low_s, self._high_s = low, high
            self._learn_period(low, high)

    def adopt(self, other: Ticks) -> None:
        """Take the period of ticks of the same device where it is known better.

        The ticks of one device come at one rate, unless they were lost for believing so.
        """
        if not self.lost and 2 * other.drift_s < self.drift_s:
            self.period_s, self.drift_s = other.period_s, 2 * other.drift_s

    def _learn_period(self, low_s: float, high_s: float) -> None:
        if self._first is None:
            if high_s - low_s <= self.fine_s:
                self._first = (low_s, high_s)
            return
        number = round((low_s - self._first[0]) / self.period_s)
        if number * self.drift_s > WIDE / 2 * self.period_s:  # nobody knows how many there were
            self._first = None
        elif number >= BASELINE:
            shortest = max((low_s - self._first[1]) / number, self.period_s - self.drift_s)
            longest = min((high_s - self._first[0]) / number, self.period_s + self.drift_s)
            if shortest <= longest:
                self.period_s = (shortest + longest) / 2
                self.drift_s = max((longest - shortest) / 2, STEADY * self.period_s)
