"""A reading: an energy that knows where it comes from and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from greenkit.foundations.grids import Grid
from greenkit.foundations.provenance import Domain, ErrorSource, Provenance, ProvenanceError, Span
from greenkit.foundations.quantity import Quantity, Ratio

__all__ = ["JOULES_PER_WH", "Provenance", "Reading"]

JOULES_PER_WH = 3600.0


@dataclass(frozen=True)
class Reading:
    """An energy in joules with provenance and interval.

    `errors` maps each independent cause of error to its signed size in joules (one standard
    deviation). Adding readings adds the sizes cause by cause. So the gain of one sensor adds
    linearly, the edge shared by two adjacent windows cancels, and in a ratio of two windows of
    one sensor the gain cancels. `factor` widens an estimate multiplicatively (95 %); `bounds`
    replace the ± of a window too short for its sensor. Derived in: Lab 01.
    """

    joules: float
    duration_s: float
    sensor: str
    device: str
    domain: Domain
    provenance: Provenance
    method: str
    errors: Mapping[ErrorSource, float] = field(default_factory=dict)
    factor: float = 1.0
    bounds: tuple[float, float] | None = None
    resolution_s: float = 0.0
    spans: tuple[Span, ...] = ()
    note: str = ""

    @property
    def random(self) -> float:
        """One standard deviation in joules of what differs from window to window."""
        return math.hypot(*(e for s, e in self.errors.items() if s.kind != "gain"))

    @property
    def systematic(self) -> float:
        """One standard deviation in joules of what all windows of the sensor share."""
        return math.hypot(*(e for s, e in self.errors.items() if s.kind == "gain"))

    @property
    def resolved(self) -> bool:
        """False where the window is shorter than its sensor can resolve."""
        return self.bounds is None

    @property
    def low(self) -> float:
        """Lower end of the interval, in joules."""
        if self.bounds is not None:
            return max(0.0, self.bounds[0] - 2 * self.systematic)
        if self.factor > 1:
            return self.joules / self.factor
        return self.joules - 2 * math.hypot(self.random, self.systematic)

    @property
    def high(self) -> float:
        """Upper end of the interval, in joules."""
        if self.bounds is not None:
            return self.bounds[1] + 2 * self.systematic
        if self.factor > 1:
            return self.joules * self.factor
        return self.joules + 2 * math.hypot(self.random, self.systematic)

    @property
    def power_w(self) -> float:
        """Mean power over the window, in watts."""
        return self.joules / self.duration_s if self.duration_s > 0 else math.nan

    @property
    def power(self) -> Quantity:
        """Mean power in watts, with the interval and provenance of the energy behind it.

        Raises ValueError for a window without length.
        """
        if not self.duration_s > 0:
            raise ValueError("a window without length has no mean power")
        return self._quantity.scaled(1 / self.duration_s, "W")

    @property
    def label(self) -> str:
        """Provenance in words, e.g. ``measured (counter, nvml:0)``."""
        detail = f"{self.method}, {self.sensor}" + (f", {self.note}" if self.note else "")
        return f"{self.provenance.value} ({detail})"

    @property
    def text(self) -> str:
        """Value and interval without the provenance (a table has a column for it)."""
        return self._quantity.text

    @property
    def _quantity(self) -> Quantity:
        return Quantity(
            self.joules,
            self.low,
            self.high,
            "J",
            self.provenance.value,
            self.label,
            approximate=self.factor > 1,
            resolved=self.resolved,
        )

    def __str__(self) -> str:
        text = f"{self.text}, {self.label}"
        if not self.resolved:
            text += f"; below resolution ({self.duration_s:.3g} s < {self.resolution_s:.3g} s)"
        return text

    def __repr__(self) -> str:
        return f"Reading({self})"

    def __float__(self) -> float:
        raise ProvenanceError(
            "a Reading is not a bare number; use .joules if you accept to lose its provenance"
        )

    def __lt__(self, other: object) -> bool:
        raise ProvenanceError("compare readings with a.vs(b): its ratio carries an interval")

    __gt__ = __le__ = __ge__ = __lt__

    def __add__(self, other: Reading) -> Reading:
        if not isinstance(other, Reading):
            return NotImplemented
        from greenkit.foundations.sums import total

        return total((self, other))

    def __radd__(self, other: object) -> Reading:
        if other == 0:  # so that sum(readings) works
            return self
        return NotImplemented

    def overlaps(self, other: Reading) -> bool:
        """True where both see some of the same energy, so that their sum would count it twice."""
        return any(mine.overlaps(theirs) for mine in self.spans for theirs in other.spans)

    def wh(self) -> Quantity:
        """The same energy in watt-hours."""
        return self._quantity.scaled(1 / JOULES_PER_WH, "Wh")

    def per(self, count: float, unit: str) -> Quantity:
        """Energy per unit of work, e.g. ``reading.per(128, "token")`` in J/token.

        Raises ValueError if `count` is not a positive number.
        """
        if not (count > 0 and math.isfinite(count)):
            raise ValueError(f"energy per {unit} needs a count above 0, got {count}")
        return self._quantity.scaled(1 / count, f"J/{unit}")

    def carbon(self, grid: Grid, *, pue: float = 1.0) -> Quantity:
        """Operational carbon in gCO2e: energy × PUE × carbon intensity of a named grid.

        Where the grid has an interval, it widens the energy's (the logarithms of both widths add
        in quadrature). Raises ValueError for a PUE below 1.
        """
        if not (pue >= 1 and math.isfinite(pue)):
            raise ValueError(f"PUE is facility energy / IT energy, at least 1; got {pue}")
        carbon = self._quantity.scaled(
            pue * grid.g_per_kwh / (1000 * JOULES_PER_WH), "gCO2e", f"{grid}, PUE {pue:g}"
        )
        if grid.interval is None:
            return carbon
        below = math.hypot(_log(self.joules, self.low), _log(grid.g_per_kwh, grid.interval[0]))
        above = math.hypot(_log(self.high, self.joules), _log(grid.interval[1], grid.g_per_kwh))
        low, high = carbon.value * math.exp(-below), carbon.value * math.exp(above)
        return replace(carbon, low=low, high=high, approximate=True)

    def above(self, idle_w: float) -> Reading:
        """The same window less an idle baseline of `idle_w` watts; says so in its note.

        Report it beside the gross reading, never alone. The baseline's own error is not included.
        """
        idle = idle_w * self.duration_s
        return replace(
            self,
            joules=self.joules - idle,
            bounds=self.bounds and (self.bounds[0] - idle, self.bounds[1] - idle),
            note=", ".join(filter(None, (self.note, f"net of {idle_w:.3g} W idle"))),
        )

    def vs(self, other: Reading, *, across: bool = False) -> Ratio:
        """This reading divided by `other`, with an interval in which shared errors cancel.

        Raises ProvenanceError where provenance, device or the part of the machine differ, unless
        `across` is True, and ValueError where one of them is not above 0 J.
        """
        same_kind = self._kind == other._kind
        if not (same_kind or across):
            raise ProvenanceError(
                f"cannot compare {self.label} on {self.device} with {other.label} on "
                f"{other.device}: they do not mean the same thing. Pass across=True if you must."
            )
        if other.joules <= 0 or self.joules <= 0:
            raise ValueError(f"a ratio needs two readings above 0 J, got {self} and {other}")
        label = self.provenance.value if same_kind else f"{self.label} / {other.label}"
        value = self.joules / other.joules
        if not (self.resolved and other.resolved):
            low, high = max(0.0, self.low) / other.high, math.inf
            return Ratio(value, low, self.high / other.low if other.low > 0 else high, label)
        causes = self.errors.keys() | other.errors.keys()
        spread = math.hypot(
            *(
                self.errors.get(c, 0.0) / self.joules - other.errors.get(c, 0.0) / other.joules
                for c in causes
            )
        )
        widen = math.exp(2 * spread)
        if not (self.sensor == other.sensor and self.method == other.method):
            widen *= self.factor * other.factor
        return Ratio(value, value / widen, value * widen, label)

    @property
    def _kind(self) -> tuple[object, ...]:
        return (self.provenance, self.device, self.domain, self.factor > 1)

    def to_dict(self) -> dict[str, object]:
        """Plain values for a JSON record; `from_dict` reads them back."""
        from greenkit.foundations.records import reading_to_dict

        return reading_to_dict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any], *, replayed_from: str = "") -> Reading:
        """Read a reading back; with `replayed_from` it becomes `replayed` and keeps its label.

        Raises KeyError where a field is missing and ValueError where it is wrong.
        """
        from greenkit.foundations.records import reading_from_dict

        reading = reading_from_dict(record)
        return reading.replayed(replayed_from) if replayed_from else reading

    def replayed(self, recorded_on: str) -> Reading:
        """The same as `replayed`, its own label kept in the note; what is simulated stays so."""
        if self.provenance in (Provenance.REPLAYED, Provenance.PUBLISHED):
            return self
        simulated = self.provenance is Provenance.SIMULATED
        note = f"{self.provenance.value} on {recorded_on}"
        return replace(
            self,
            provenance=Provenance.SIMULATED if simulated else Provenance.REPLAYED,
            note=", ".join(filter(None, (note, self.note))),
        )


def _log(high: float, low: float) -> float:
    return math.log(high / low) if low > 0 and high > 0 else math.inf
