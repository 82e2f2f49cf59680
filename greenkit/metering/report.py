"""The meter's report: one row per window and sensor, never a joule without its source."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Real
from typing import TypeGuard

from greenkit.foundations import Grid, Provenance, ProvenanceError, Reading, format_interval, total
from greenkit.foundations import grid as find_grid
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.window import Meter, NotMeasuredError, Window

HEADER = ("window", "work", "time", "energy", "per unit", "source")
SHORTEST_NAME, LINE_WIDTH = 6, 100


def report(meter: Meter, *, grid: Grid | str | None = None, pue: float = 1.0) -> str:
    """All windows of a meter as a plain table, and below it where the numbers come from.

    With a named `grid` the carbon of the whole follows. No line is wider than 100 columns.
    Raises ValueError for a PUE below 1 or without a grid, and for an unknown country.
    """
    if grid is None and pue != 1:
        raise ValueError("a PUE matters for the carbon: name a grid, too, e.g. grid='FRA'")
    if not isinstance(pue, int | float) or not 1 <= pue < math.inf:
        raise ValueError(f"PUE is facility energy / IT energy, at least 1; got {pue!r}")
    if grid is not None and not isinstance(grid, Grid):
        grid = find_grid(grid)
    rows: list[Sequence[str]] = [HEADER]
    notes: list[str] = []
    totals = _openings(meter)
    for window in [*meter.windows, *totals]:
        readings, reasons = window.look() if window.duration_s >= 0 else ((), ("still open",))
        rows += _rows(window, readings)
        notes += [f"{window.name}: {reason}" for reason in reasons]
        notes += [_too_short(window, r) for r in readings if not r.resolved]
    notes = [*_totals(meter, totals, grid, pue), *map(_source, meter.curves), *dict.fromkeys(notes)]
    wrapped = (textwrap.fill(n, LINE_WIDTH, subsequent_indent="  ") for n in notes)
    return "\n".join([table(rows), *wrapped])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns; the first row is the header. Empty columns are left out.

    Where the lines would be too long, the names in the first column are cut.
    """
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    room = max(SHORTEST_NAME, LINE_WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    if widths[0] > room:
        widths[0] = room
        columns[0] = tuple(n if len(n) <= room else n[: room - 1] + "…" for n in columns[0])
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _rows(window: Window, readings: Sequence[Reading]) -> list[tuple[str, ...]]:
    unit = next(iter(window.work), "")
    amount = window.work.get(unit)
    work = (f"{amount:.6g} {unit}" if _is_number(amount) else f"{amount} {unit}") if unit else ""
    length_s = float(f"{window.duration_s:.3g}")
    length = format_interval(length_s, length_s, length_s, "s") if math.isfinite(length_s) else ""
    first = (window.name, work, length)
    rows = [
        (_short(r), _per(r, window.work.get(unit)), f"{r.provenance.value} ({r.sensor})")
        for r in readings
    ] or [("not measured", "", "")]
    return [((first if i == 0 else ("  +", "", "")) + row) for i, row in enumerate(rows)]


def _is_number(amount: object) -> TypeGuard[float]:
    """False for what a user put into a window's work later that is none."""
    return isinstance(amount, Real)


def _short(reading: Reading) -> str:
    return reading.text.removeprefix("between ").replace(" and ", " to ")


def _per(reading: Reading, count: float | None) -> str:
    """Energy per unit of work, its ± where that is wider than 0.5 %.

    Of an estimate the value only: its range stands in the energy.
    """
    if not _is_number(count) or not 0 < count < math.inf or not reading.resolved:
        return ""
    each, low, high = reading.joules / count, reading.low / count, reading.high / count
    if reading.factor == 1 and high - low < 0.01 * each:
        low = high = each
    text = format_interval(each, low, high, "J", approximate=reading.factor > 1)
    return text.partition(" (")[0]


def _openings(meter: Meter) -> list[Window]:
    """One window for each time that the meter was opened, the latest (or a call) at the end."""
    last = meter.total
    earlier = [w for w in meter.openings if w.start_s != last.start_s]
    return [*(replace(w, name=f"total {i}") for i, w in enumerate(earlier, start=1)), last]


def _totals(meter: Meter, totals: Sequence[Window], grid: Grid | None, pue: float) -> Iterable[str]:
    start_s = meter.total.start_s
    before = [w for w in meter.windows if w.start_s < start_s]
    if left_out := [w.name for w in before if not any(_holds(t, w) for t in totals)]:
        names = ", ".join(dict.fromkeys(left_out))
        yield f"the total is that of the last call alone: windows of earlier calls are {names}"
    try:
        reading = total([window.reading for window in totals])
    except (NotMeasuredError, ProvenanceError) as error:
        if len(totals) > 1:
            yield f"total: none of all {len(totals)} openings together: {error}"
        return
    source = f"{reading.provenance.value} ({reading.sensor})"
    of = f" of {len(totals)} openings" if len(totals) > 1 else ""
    yield f"total{of}: {reading.text} = {reading.wh().text}, {source}"
    if grid is not None:
        yield f"at {grid}, PUE {pue:g}: {reading.carbon(grid, pue=pue).text}, {source}"
    for curve in meter.curves:
        trace = _trace(curve)
        if trace and curve.info.provenance is not Provenance.ESTIMATED:
            top_w, at_s = max(trace)
            name = f"{curve.info.provenance.value} ({curve.info.name})"
            yield f"peak: {top_w:.0f} W at {at_s - start_s:.1f} s, {name}"
    if meter.idle_w is not None:
        yield f"idle: {meter.idle_w.power_w:.3g} W, {meter.idle_w.provenance.value}, not subtracted"


def _holds(whole: Window, part: Window) -> bool:
    return whole.start_s <= part.start_s and part.end_s <= whole.end_s


def _trace(curve: EnergyCurve) -> list[tuple[float, float]]:
    """Watts and time; a stretch much shorter than a tick tells a step of the counter, no power."""
    times, watts = curve.power()
    ends = zip(watts, curve.times, times, strict=False)
    return [(w, end_s) for w, start_s, end_s in ends if end_s - start_s > curve.tick_s / 2]


def _source(curve: EnergyCurve) -> str:
    info = curve.info
    parts = [f"{info.name}: {info.provenance.value}, {info.method}", info.device, info.note]
    if info.factor > 1:
        parts.append(f"95 % within ×/÷ {info.factor:g}")
    else:
        parts.append(f"systematic ± {2 * info.gain:.0%}")
        if math.isfinite(curve.tick_s):
            parts.append(
                f"a new value every {curve.tick_s:.2g} s, hard bounds only below "
                f"{curve.resolution_s:.2g} s"
            )
    return "; ".join(filter(None, parts))


def _too_short(window: Window, reading: Reading) -> str:
    times = math.ceil(5 * reading.resolution_s / max(reading.duration_s, 1e-6))
    return (
        f"{window.name}: {reading.duration_s:.2g} s is below the resolution of {reading.sensor} "
        f"({reading.resolution_s:.2g} s); about {times} repeats resolve it: "
        f"greenkit.measure(fn, rel=0.05)"
    )
