"""Figures of energies side by side, each with its interval and its provenance in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from greenkit.foundations import Provenance, Quantity, Reading
from greenkit.plot.figures import (
    BLUE,
    HATCHES,
    INK,
    MUTED,
    SIZE_IN,
    SMALL_PT,
    Words,
    figure_of,
    offset,
    shown,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def bars(
    values: Mapping[str, Reading | Quantity],
    *,
    unit: str,
    ax: Axes | None = None,
    **words: Unpack[Words],
) -> Figure:
    """Energies (or J/token, gCO2e, …) side by side, each with interval and provenance in words.

    A bar is solid only where the value was measured. A value below its sensor's resolution has no
    bar, only its bounds. `unit` is the unit of all values, e.g. "J/token"; `ax` and `words`
    as for `trace`.
    Raises ValueError without values or alt text, and where a value has another unit.
    """
    if not values:
        raise ValueError("bars needs at least one reading or quantity, got none")
    for name, value in values.items():
        if (own := "J" if isinstance(value, Reading) else value.unit) != unit:
            raise ValueError(f"{name!r} is in {own}, this figure is in {unit}: convert it first")
    if ax is None:
        size_in = (SIZE_IN[0], 0.95 + 0.74 * len(values))
        return shown(words, lambda own: bars(values, unit=unit, ax=own), size_in)
    ends = [end for v in values.values() for end in (_best(v), v.low, v.high) if math.isfinite(end)]
    largest = max(map(abs, ends)) or 1.0
    scale, prefix = next((p for p in PREFIXES if largest >= p[0]), PREFIXES[-1])
    left, right = min(0.0, 1.05 * min(ends) / scale), 1.05 * largest / scale
    for row, (name, value) in enumerate(values.items()):
        _bar(ax, row, name, value, scale, right)
    ax.set(xlim=(left, right), ylim=(len(values) - 0.55, -0.72), yticks=[])
    ax.set_xlabel(f"{'carbon' if 'CO2e' in unit else 'energy'} ({prefix}{unit})")
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=MUTED, linewidth=1.2)
    return figure_of(ax)


def _bar(
    ax: Axes, row: int, name: str, value: Reading | Quantity, scale: float, right: float
) -> None:
    kind = Provenance(value.provenance)
    best, low, high = _best(value) / scale, value.low / scale, min(value.high / scale, right)
    look: dict[str, Any] = {"height": 0.4, "edgecolor": BLUE, "linewidth": 1.5}
    if not value.resolved:
        ax.barh(row, high - low, left=low, facecolor="none", linestyle="--", **look)
    else:
        face = BLUE if kind is Provenance.MEASURED else "none"
        ax.barh(row, best, facecolor=face, hatch=HATCHES[kind], **look)
        if high > low:
            ax.errorbar(best, row, xerr=[[best - low], [high - best]], color=INK, capsize=5)
    if not math.isfinite(value.high):
        ax.plot([high], [row], ">", color=BLUE, markersize=9, clip_on=False)
    text = wrapped(f"{name}: {value.text}, {kind.value}", 56)
    place = ax.get_yaxis_transform() + offset(ax, 4, 0)
    ax.text(0, row - 0.26, text, transform=place, va="bottom", fontsize=SMALL_PT)


def _best(value: Reading | Quantity) -> float:
    return value.joules if isinstance(value, Reading) else value.value
