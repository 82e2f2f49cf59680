"""A window: a named block of work, and the energy of each sensor in it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Protocol

from greenkit.foundations import Domain, Provenance, Quantity, Reading, total
from greenkit.metering.curve import EnergyCurve

RANK = (Provenance.MEASURED, Provenance.SIMULATED, Provenance.REPLAYED, Provenance.ESTIMATED)


class NotMeasuredError(RuntimeError):
    """There is no energy value to give; the message says why. It is never replaced by 0."""


class Meter(Protocol):
    """What a window needs of the meter that it belongs to."""

    windows: list[Window]
    openings: list[Window]
    curves: list[EnergyCurve]
    idle_w: Reading | None

    @property
    def total(self) -> Window:
        """The window from opening to closing."""

    def synchronize(self) -> None:
        """Wait until the GPU has done what it was given."""

    def look(
        self, start_s: float, end_s: float, curves: Sequence[EnergyCurve]
    ) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
        """One reading per curve that has one, and one sentence per other curve or sensor."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a window that was copied or pickled found, in place of its meter."""

    readings: tuple[Reading, ...]
    reasons: tuple[str, ...]

    def look(
        self, start_s: float, end_s: float, curves: Sequence[EnergyCurve]
    ) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
        """The readings and reasons of that window; its instants and curves do not matter."""
        return self.readings, self.reasons


def refuse_bad_work(name: object, work: Mapping[str, object]) -> None:
    """Raise TypeError or ValueError for a name that is no text, or work that is no amount."""
    if not isinstance(name, str):
        raise TypeError(f'a window has a name, e.g. window("decode", tokens=128); got {name!r:.60}')
    for unit, amount in work.items():
        if not isinstance(amount, Real) or isinstance(amount, bool):
            raise TypeError(f"the work {unit} of window {name!r} is a number, got {amount!r:.60}")
        if not 0 <= float(amount) < math.inf:
            raise ValueError(f"the work {unit} of window {name!r} is 0 or more, got {amount}")


def refuse_bad_instants(start_s: object, end_s: object) -> None:
    """Raise TypeError or ValueError for two instants between which no time has passed yet."""
    if not (isinstance(start_s, Real) and isinstance(end_s, Real)):
        raise TypeError(
            f"an instant is a number of seconds, of time.perf_counter(): got {start_s!r:.40} and "
            f"{end_s!r:.40}"
        )
    if not float(end_s) >= float(start_s):
        raise ValueError(f"a window ends after it starts: got {start_s} s to {end_s} s")
    if float(end_s) > time.perf_counter():
        raise ValueError(f"a window of the future is not metered yet: it ends at {end_s} s")


@dataclass(slots=True)
class Window:
    """A metered block: two instants, its name, and the work done in it (e.g. tokens=128).

    A copy and a pickle of it hold what the sensors told, and need the meter no longer.
    """

    name: str
    work: dict[str, float]
    _meter: Meter | Kept = field(repr=False)
    _curves: Sequence[EnergyCurve] = field(repr=False)
    start_s: float = math.nan
    end_s: float = math.nan

    def __enter__(self) -> Window:
        if not math.isnan(self.start_s) or isinstance(self._meter, Kept):
            raise RuntimeError(f"window {self.name!r} was used already; open another one")
        self._meter.synchronize()
        self.start_s = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        if isinstance(self._meter, Kept) or math.isnan(self.start_s) or self.end_s >= self.start_s:
            raise RuntimeError(f"window {self.name!r} is not open; use `with` to open and end it")
        try:
            if not any(exception):  # a device in error would hide the exception behind its own
                self._meter.synchronize()
        finally:
            self.end_s = time.perf_counter()
            self._meter.windows.append(self)

    def __getstate__(self) -> tuple[str, dict[str, float], float, float, Kept]:
        return self.name, self.work, self.start_s, self.end_s, Kept(*self.look())

    def __setstate__(self, state: tuple[str, dict[str, float], float, float, Kept]) -> None:
        self.name, self.work, self.start_s, self.end_s, self._meter = state
        self._curves = ()

    @property
    def curves(self) -> Sequence[EnergyCurve]:
        """The curves that it is drawn on; none in a copy."""
        return self._curves

    @property
    def duration_s(self) -> float:
        """Wall time between the two instants, in seconds."""
        return self.end_s - self.start_s

    def look(self) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
        """One reading per sensor that has one for this window, and one sentence per other sensor.

        Raises NotMeasuredError while the window is open.
        """
        if math.isnan(self.duration_s):
            raise NotMeasuredError(f"not measured: window {self.name!r} has not ended yet")
        return self._meter.look(self.start_s, self.end_s, self._curves)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """One reading per sensor that has one for this window."""
        return self.look()[0]

    @property
    def reading(self) -> Reading:
        """The headline reading: the best provenance at hand. Raises NotMeasuredError."""
        return headline(*self.look())

    def per(self, unit: str) -> Quantity:
        """Energy per unit of the work named when the window was opened, e.g. ``per("tokens")``.

        Raises KeyError where the window was opened without that work.
        """
        if unit not in self.work:
            raise KeyError(
                f"window {self.name!r} was opened without {unit}=…; it knows "
                f"{', '.join(self.work) or 'no work'}"
            )
        return self.reading.per(self.work[unit], unit.removesuffix("s"))


def headline(readings: Sequence[Reading], reasons: Sequence[str]) -> Reading:
    """The sum of the readings of the best provenance: measured before simulated before estimated.

    A second opinion on energy that is in the sum already is left out, and so is the whole machine
    where a part of it is measured. A sensor that gave nothing is named in the note. Raises
    NotMeasuredError with all reasons where there is no reading.
    """
    for provenance in RANK:
        chosen: list[Reading] = []
        for reading in sorted(readings, key=lambda r: r.domain is Domain.MACHINE):
            new = not any(reading.overlaps(other) for other in chosen)
            if reading.provenance is provenance and new:
                chosen.append(reading)
        if chosen:
            best = total(chosen)
            return replace(best, note=", ".join(filter(None, (best.note, *reasons))))
    raise NotMeasuredError("; ".join(reasons) or "not measured: there is no sensor")
