"""Numbers with an interval, a unit and a provenance, and the one way to print them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def _prefixed(value: float, unit: str, significant: int = 3) -> tuple[float, str]:
    """The factor and the unit with its prefix that show a value with one to three digits."""
    if value == 0 or not math.isfinite(value) or unit == "%":
        return 1.0, unit
    for scale, prefix in _PREFIXES:
        if float(f"{abs(value):.{significant}g}") >= scale:
            return scale, f"{prefix}{unit}"
    return 1e-9, f"n{unit}"


def _digits(value: float, significant: int) -> int:
    """Decimals that show `value` with that many significant digits (below 0: to tens, …)."""
    if value == 0 or not math.isfinite(value):
        return 0
    return significant - 1 - int(f"{abs(value):.{significant - 1}e}".partition("e")[2])


def _show(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def format_interval(
    value: float,
    low: float,
    high: float,
    unit: str,
    *,
    approximate: bool = False,
    resolved: bool = True,
) -> str:
    """Value, interval and unit as the course prints them.

    A measured value shows ± (2 standard deviations); an estimate shows ~ with two digits and its
    range; a value below its sensor's resolution shows its hard bounds only.

    >>> format_interval(804.2, 763.0, 845.4, "J")
    '804 J ± 41'
    >>> format_interval(38.2, 13.1, 110.8, "J", approximate=True)
    '~38 J (13 to 110)'
    """
    largest = max((abs(x) for x in (value, low, high) if math.isfinite(x)), default=0.0)
    two = approximate or not resolved
    scale, shown = _prefixed((value if resolved else 0.0) or largest, unit, 2 if two else 3)
    value, low, high = value / scale, low / scale, high / scale
    best, least, most = (_show(x, _digits(x, 2)) for x in (value, low, high))
    if not resolved:
        return f"between {least} and {most} {shown}"
    if approximate:
        return f"~{best} {shown} ({least} to {most})"
    half = (high - low) / 2
    if half <= 0:
        return f"{value:.4g} {shown}"
    decimals = _digits(half, 2 if half >= 10 or f"{half:.0e}"[0] in "12" else 1)
    return f"{_show(value, decimals)} {shown} ± {_show(half, decimals)}"


@dataclass(frozen=True)
class Quantity:
    """A number derived from a reading: Wh, J/token or gCO2e, with the reading's provenance.

    `low` and `high` are its interval in `unit`; `approximate` and `resolved` say how it is printed.
    """

    value: float
    low: float
    high: float
    unit: str
    provenance: str
    label: str
    approximate: bool = False
    resolved: bool = True

    @property
    def text(self) -> str:
        """Value, interval and unit without the provenance (a table has a column for it)."""
        return format_interval(
            self.value,
            self.low,
            self.high,
            self.unit,
            approximate=self.approximate,
            resolved=self.resolved,
        )

    def __str__(self) -> str:
        return f"{self.text}, {self.label}"

    def __repr__(self) -> str:
        return f"Quantity({self})"

    def scaled(self, factor: float, unit: str, also: str = "") -> Quantity:
        """The same quantity times `factor`, in another unit; `also` is added to its label."""
        return replace(
            self,
            value=self.value * factor,
            low=self.low * factor,
            high=self.high * factor,
            unit=unit,
            label=f"{self.label}; {also}" if also else self.label,
        )


@dataclass(frozen=True)
class Ratio:
    """A ratio with its 95 % interval; `excludes_one` tells whether its sides can be told apart."""

    value: float
    low: float
    high: float
    label: str

    def excludes_one(self, margin: float = 0.0) -> bool:
        """True where the whole interval lies more than `margin` (0.1 is 10 %) away from 1."""
        return self.low > 1 + margin or self.high < 1 - margin

    def scaled(self, factor: float, also: str = "") -> Ratio:
        """The same ratio times a known factor; `also` is added to its label."""
        label = f"{self.label}; {also}" if also else self.label
        return Ratio(self.value * factor, self.low * factor, self.high * factor, label)

    @property
    def text(self) -> str:
        """Value and interval without the label."""
        ends = (self.value, self.low, self.high)
        best, low, high = (
            _show(x, _digits(x, 3) if x >= 1 else max(2, _digits(x, 2))) for x in ends
        )
        return f"{best}× ({low} to {high})"

    def __str__(self) -> str:
        return f"{self.text}, {self.label}"

    def __repr__(self) -> str:
        return f"Ratio({self})"
