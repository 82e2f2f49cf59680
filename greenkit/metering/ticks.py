"""When a sensor ticks: the interval that holds its ticks, narrowed by every pair of reads."""

from __future__ import annotations

import math

PERIOD_S, DRIFT = 0.1, 0.015  # before it is known: cards refresh every 100 ms, some every 101
STEADY = 1e-4  # what a period that was seen for long may still differ by
JITTER_S = 0.0005
FINE_S = 0.008  # an interval this narrow is good enough


class Ticks:
    """Ticks at equal distances, of which one is known to lie between two instants.

    Two reads less than a period apart tell on which side of the second one a tick lies: the value
    has changed, or not yet. So a few reads halve the interval until it is a few milliseconds wide,
    and reads far apart then tell the period. All instants and lengths in seconds.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self.period_s = period_s
        self.lost = 0  # how often the ticks were not where they should have been
        self._drift_s = DRIFT * period_s
        self._low_s = self._high_s = math.nan  # the interval that holds one tick
        self._first: tuple[float, float, float] | None = None  # as narrow, long ago: to its period

    @property
    def known(self) -> bool:
        """True where the interval is narrow enough to tell which tick a value is of."""
        return self._high_s - self._low_s <= FINE_S

    @property
    def seen(self) -> bool:
        """True after the first two reads that told anything."""
        return not math.isnan(self._low_s)

    def near(self, time_s: float) -> tuple[float, float]:
        """The interval of the tick closest to an instant."""
        number = round((time_s - (self._low_s + self._high_s) / 2) / self.period_s)
        spread = abs(number) * self._drift_s + (JITTER_S if number else 0.0)
        shift = number * self.period_s
        return self._low_s + shift - spread, self._high_s + shift + spread

    def next(self, time_s: float) -> tuple[float, float]:
        """The interval of the first tick that may still come at an instant."""
        low, high = self.near(time_s)
        while high < time_s:
            low, high = self.near((low + high) / 2 + self.period_s)
        return low, high

    def last(self, time_s: float) -> tuple[float, float]:
        """The interval of the latest tick that has surely come at an instant."""
        low, high = self.near(time_s)
        while high > time_s:
            low, high = self.near((low + high) / 2 - self.period_s)
        return low, high

    def saw(self, before_s: float, after_s: float, *, changed: bool) -> None:
        """Two reads less than a period apart: a tick came between them, or none did."""
        if not changed:
            before_s, after_s = after_s, before_s + self.period_s
        if not after_s > before_s:
            return
        if not self.seen:
            self._low_s, self._high_s = before_s, after_s
            return
        low, high = self.near((before_s + after_s) / 2)
        low, high = max(low, before_s), min(high, after_s)
        if low > high:
            self._lose(before_s, after_s)
        else:
            self._keep(low, high)

    def _keep(self, low_s: float, high_s: float) -> None:
        if self._first is None:
            if high_s - low_s <= FINE_S:
                self._first = (low_s, high_s, self.period_s)
        elif (number := round((low_s - self._first[0]) / self.period_s)) >= 10:
            first_low, first_high, _ = self._first
            shortest = max((low_s - first_high) / number, self.period_s - self._drift_s)
            longest = min((high_s - first_low) / number, self.period_s + self._drift_s)
            if shortest <= longest:
                self.period_s = (shortest + longest) / 2
                self._drift_s = max((longest - shortest) / 2, STEADY * self.period_s)
        self._low_s, self._high_s = low_s, high_s

    def _lose(self, low_s: float, high_s: float) -> None:
        self.lost += 1
        self._low_s, self._high_s, self._first = low_s, high_s, None
        self._drift_s = DRIFT * self.period_s
