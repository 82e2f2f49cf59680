"""Figures of one sensor over time: its power, and its energy so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from greenkit.foundations import Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.replay import Trace
from greenkit.metering.sensor import SensorError
from greenkit.plot.figures import (
    BLUE,
    CARD,
    COLORS,
    GRID,
    HATCHES,
    INK,
    MUTED,
    SIZE_IN,
    SMALL_PT,
    VERMILION,
    Words,
    figure_of,
    offset,
    shown,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from greenkit.metering.window import Window

    Span = tuple[float, float]
    Windows = Mapping[str, Span | Sequence[Span]] | Iterable[Window]

ROW_PT = 25


def trace(
    curve: EnergyCurve | Trace,
    *,
    windows: Windows | None = None,
    truth: Callable[[float], float] | None = None,
    ax: Axes | None = None,
    **words: Unpack[Words],
) -> Figure:
    """Power over time as the sensor gave it, with named windows shaded: their area is energy.

    `windows` maps a name to (start s, end s) or several of them, or is a list of a meter's
    windows; by default the marks of a recorded trace. `truth` gives the watts at an instant where
    they are known. Time is the curve's own clock where that starts near 0, and else counts from
    its first knot. Draws on `ax` if there is one, and else shows a new figure with `words`: alt,
    caption and source of `show`.
    Raises ValueError without alt text, and where there is nothing to draw.
    """
    if ax is None:
        return shown(words, lambda own: trace(curve, windows=windows, truth=truth, ax=own))
    from matplotlib.patches import Patch, Rectangle

    line = curve.curve if isinstance(curve, Trace) else curve
    marks = curve.marks if isinstance(curve, Trace) else {}
    watts, origin = _watts(line), _origin(line)
    edges = [time_s - origin for time_s in line.times]
    spans = _spans(marks if windows is None else windows, origin)
    hatch, across = HATCHES[line.info.provenance], ax.get_xaxis_transform()
    top = max([w for w in watts if math.isfinite(w)], default=1.0)
    look: dict[str, Any] = {"fill": True, "linewidth": 0, "hatch": hatch, "edgecolor": CARD}
    ax.stairs(watts, edges, facecolor=GRID, **look)
    for name in reversed(_inner_first(spans)):
        color = _color(spans, name)
        for start, end in spans[name]:
            area = ax.stairs(watts, edges, facecolor=color, **look)
            area.set_clip_path(Rectangle((start, 0), end - start, 1, transform=across))
            ax.axvspan(start, end, color=color, alpha=0.12, linewidth=0)
    ax.stairs(watts, edges, color=INK, linewidth=1.6 if len(watts) < 200 else 0.7, baseline=None)
    for start, end, _ in line.gaps:
        ax.axvspan(start - origin, end - origin, facecolor=CARD, edgecolor=MUTED, hatch="xx")
        middle = (start + end) / 2 - origin
        ax.text(middle, top / 2, "no data", ha="center", backgroundcolor=CARD)
    handles: list[Any] = [Patch(facecolor=MUTED, edgecolor=CARD, hatch=hatch, label=_source(line))]
    if truth is not None:
        first = max(edges[0], -origin)  # the truth begins with its own clock
        times = [first + (edges[-1] - first) * i / 2000 for i in range(2001)]
        true = [truth(time_s + origin) for time_s in times]
        handles += ax.plot(times, true, "--", color=VERMILION, linewidth=1.5, label="true power")
        top = max(top, *true)
    drawn = [time_s for pieces in spans.values() for piece in pieces for time_s in piece]
    ends = min([edges[0], *drawn]), max([edges[-1], *drawn])
    ax.set(xlim=ends, ylim=(0, 1.08 * top or 1.0), ylabel="power (W)")
    _name_windows(ax, spans)
    _name_source(ax, handles)
    return figure_of(ax)


def energy_curve(
    curve: EnergyCurve | Trace,
    *,
    window: Span | None = None,
    ax: Axes | None = None,
    **words: Unpack[Words],
) -> Figure:
    """Energy so far: the knots a sensor gave, the line through them, and a window as two instants.

    The energy of the window (start s, end s) is the height between its two points. Time, `ax`,
    `words` and what is raised: as for `trace`.
    """
    if ax is None:
        return shown(words, lambda own: energy_curve(curve, window=window, ax=own))
    line = curve.curve if isinstance(curve, Trace) else curve
    _watts(line)
    origin = _origin(line)
    inside = BLUE if line.info.provenance is Provenance.MEASURED else CARD
    look: dict[str, Any] = {"color": BLUE, "markerfacecolor": inside, "label": _source(line)}
    knots = ax.plot([time_s - origin for time_s in line.times], line.joules, "o-", **look)
    ax.set(ylim=(0, 1.08 * max(line.joules) or 1.0), ylabel="energy so far (J)")
    if window is not None:
        _draw_window(ax, line, window, origin)
    _name_source(ax, knots)
    return figure_of(ax)


def _draw_window(ax: Axes, line: EnergyCurve, window: Span, origin: float) -> None:
    start, end = (time_s - origin for time_s in window)
    low, high = (line.edge(time_s).joules for time_s in window)
    right = max(line.times[-1] - origin, end)
    for x, y in ((start, low), (end, high)):
        ax.plot([x, x, right], [0, y, y], ":", color=VERMILION, linewidth=1.5)
        ax.plot([x], [y], "s", color=VERMILION, markersize=8, zorder=3)
    arrow = {"arrowstyle": "<->", "color": VERMILION, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=(right, low), xytext=(right, high), arrowprops=arrow)
    try:
        text = line.reading(*window).text
    except SensorError as error:
        text = str(error)
    look: dict[str, Any] = {"ha": "right", "va": "center", "weight": "bold"}
    look["bbox"] = {"facecolor": CARD, "edgecolor": "none", "pad": 2.5}
    place = ax.transData + offset(ax, -9, 0)
    middle = max((low + high) / 2, 0.1 * ax.get_ylim()[1])  # clear of the axis below
    ax.text(right, middle, wrapped(text, 22), transform=place, **look)


def _name_windows(ax: Axes, spans: Mapping[str, Sequence[Span]]) -> None:
    """Bracket and name each window above the axes, outer ones in a higher row than inner ones."""
    from matplotlib.textpath import TextPath

    left, right = ax.get_xlim()
    point = (right - left) / (72 * 0.8 * SIZE_IN[0])  # the axes are at least so wide
    rows: list[tuple[list[Span], list[Span]]] = []  # brackets and labels of each row
    for name in _inner_first(spans):
        pieces = spans[name]
        label = name if len(pieces) == 1 else f"{name} (×{len(pieces)})"
        half = point * (TextPath((0, 0), label, size=SMALL_PT).get_extents().width / 2 + 3)
        middle = sum(pieces[0]) / 2 if len(pieces) == 1 else pieces[0][0] + half
        middle = min(max(middle, left + half), right - half)
        room = (middle - half, middle + half)
        free = (i for i, (b, n) in enumerate(rows) if _apart(pieces, b) and _apart([room], n))
        row = next(free, len(rows))
        if row == len(rows):
            rows.append(([], []))
        rows[row][0].extend(pieces)
        rows[row][1].append(room)
        place = ax.get_xaxis_transform() + offset(ax, 0, 5 + ROW_PT * row)
        color = _color(spans, name)
        for piece in pieces:
            ax.plot(piece, (1, 1), transform=place, clip_on=False, color=color, linewidth=5)
        above = place + offset(ax, 0, 3)
        ax.text(middle, 1, label, transform=above, ha="center", va="bottom", fontsize=SMALL_PT)


def _apart(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return all(a[1] <= b[0] + 1e-9 or b[1] <= a[0] + 1e-9 for a in some for b in others)


def _name_source(ax: Axes, handles: Sequence[Any]) -> None:
    """Name the axis of time, and beside it the provenance of what is drawn."""
    ax.set_xlabel("time (s)", loc="left")
    place = ax.transAxes + offset(ax, 0, -22)
    look: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "handlelength": 1.6}
    ax.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(1, 0), bbox_transform=place, **look
    )


def _spans(windows: Windows, origin: float) -> dict[str, list[Span]]:
    """Windows of any accepted form as name → list of (start s, end s) after `origin`."""
    spans: dict[str, list[Span]] = {}
    if isinstance(windows, Mapping):
        named: list[tuple[str, Any]] = list(windows.items())
    else:
        named = [(window.name, (window.start_s, window.end_s)) for window in windows]
    for name, value in named:
        pieces = [value] if value and isinstance(value[0], int | float) else value
        spans.setdefault(name, []).extend((a - origin, b - origin) for a, b in pieces)
    return {name: pieces for name, pieces in spans.items() if pieces}


def _inner_first(spans: Mapping[str, Sequence[Span]]) -> list[str]:
    return sorted(spans, key=lambda name: sum(end - start for start, end in spans[name]))


def _color(spans: Mapping[str, Sequence[Span]], name: str) -> str:
    return COLORS[list(spans).index(name) % len(COLORS)]


def _origin(line: EnergyCurve) -> float:
    first, last = line.times[0], line.times[-1]
    return 0.0 if abs(first) <= last - first else first


def _watts(line: EnergyCurve) -> list[float]:
    """Mean power between knots, NaN where the sensor gave no valid data."""
    if len(line.times) < 2:
        raise ValueError(f"{line.info.name} gave fewer than two values: there is nothing to draw")
    stretches = zip(line.times[:-1], line.times[1:], line.power()[1], strict=True)
    return [
        math.nan if any(a < end and start < b for start, end, _ in line.gaps) else watts
        for a, b, watts in stretches
    ]


def _source(line: EnergyCurve) -> str:
    """The label of the curve's readings; a method that is a formula is left to the tables."""
    info = line.info
    method = info.method if len(info.method) < 24 else ""
    details = ", ".join(filter(None, (method, info.name, info.note)))
    return wrapped(f"{info.provenance.value} ({details})", 40)
