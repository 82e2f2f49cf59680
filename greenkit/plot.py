"""One look for every figure of the course: safe colors, units, provenance, and alt text.

Nothing here uses pyplot: a figure is drawn, shown once, and returned. In a notebook it appears
only through `show`, which asks for its alt text.
"""

from __future__ import annotations

import base64
import html
import io
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from greenkit.foundations import Provenance, Quantity, Reading
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.replay import Trace
from greenkit.metering.sensor import SensorError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

    from greenkit.metering.meter import Window

    Span = tuple[float, float]
    Windows = Mapping[str, Span | Sequence[Span]] | Iterable[Window]

# Okabe and Ito, Color Universal Design (2008), in the order in which figures use them.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#D55E00")
BLUE, VERMILION = COLORS[0], COLORS[-1]
INK, MUTED, GRID, CARD = "#22272B", "#5A6268", "#DAD9D2", "#FBFAF6"
# Solid means measured and all else has a pattern; a published value is hollow.
HATCHES = {
    Provenance.MEASURED: "",
    Provenance.REPLAYED: "\\\\",
    Provenance.ESTIMATED: "////",
    Provenance.SIMULATED: "..",
    Provenance.PUBLISHED: "",
}
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
SIZE_IN = (6.4, 3.6)
DPI = 150
SMALL_PT = 12.5
ROW_PT = 25

STYLE: dict[str, Any] = {
    "figure.figsize": SIZE_IN,
    "figure.facecolor": CARD,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.12,
    "savefig.facecolor": CARD,
    "font.family": "DejaVu Sans",
    "font.size": 13.5,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "text.color": INK,
    "axes.facecolor": CARD,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.prop_cycle": f"cycler('color', {list(COLORS)})",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "butt",
    "hatch.linewidth": 0.9,
}


def style() -> ExitStack:
    """Set the course's look for matplotlib; as ``with style(): …`` for one block only."""
    import matplotlib

    now: Any = matplotlib.rcParams
    undo = ExitStack()
    undo.callback(now.update, {key: now[key] for key in STYLE})
    now.update(STYLE)
    return undo


def show(figure: Figure, *, alt: str) -> Figure:
    """Display a figure with its alt text in Jupyter; elsewhere only check that it has one.

    The text travels in the output, so a screen reader finds it in Jupyter, in Colab and in the
    built book. The figure does not appear a second time where it is the last value of a cell.
    Raises ValueError without alt text.
    """
    text = _alt(alt)
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close(figure)  # else Jupyter's own display adds it again, without alt text
    figure._ipython_display_ = _no_echo  # type: ignore[attr-defined]
    if _in_notebook():
        from IPython.display import display

        width, height = (round(100 * side) for side in figure.get_size_inches())
        image = (
            f'<img class="gk-figure" alt="{html.escape(text)}" '
            f'width="{width}" height="{height}" style="max-width: 100%; height: auto" '
            f'src="data:image/png;base64,{base64.b64encode(png(figure)).decode()}">'
        )
        display({"text/html": image, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes, without date or version."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with Image.open(drawn) as image:  # in 64 colors it looks the same at a third of the size
        flat = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    flat.save(small, format="png", optimize=True)
    return small.getvalue()


def trace(
    curve: EnergyCurve | Trace,
    *,
    alt: str = "",
    windows: Windows | None = None,
    truth: Callable[[float], float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Power over time as the sensor gave it, with named windows shaded: their area is energy.

    `windows` maps a name to (start s, end s) or several of them, or is a list of a meter's
    windows; by default the marks of a recorded trace. `truth` gives the watts at an instant where
    they are known. Time is the curve's own clock where that starts near 0, and else counts from
    its first knot. Draws on `ax` if there is one, and else shows a new figure.
    Raises ValueError without alt text, and where there is nothing to draw.
    """
    if ax is None:
        return _shown(alt, lambda own: trace(curve, windows=windows, truth=truth, ax=own))
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
        times = [edges[0] + (edges[-1] - edges[0]) * i / 2000 for i in range(2001)]
        true = [truth(time_s + origin) for time_s in times]
        handles += ax.plot(times, true, "--", color=VERMILION, linewidth=1.5, label="true power")
        top = max(top, *true)
    drawn = [time_s for pieces in spans.values() for piece in pieces for time_s in piece]
    ends = min([edges[0], *drawn]), max([edges[-1], *drawn])
    ax.set(xlim=ends, ylim=(0, 1.08 * top or 1.0), ylabel="power (W)")
    _name_windows(ax, spans)
    _name_source(ax, handles)
    return _figure_of(ax)


def energy_curve(
    curve: EnergyCurve | Trace,
    *,
    alt: str = "",
    window: Span | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Energy so far: the knots a sensor gave, the line through them, and a window as two instants.

    The energy of the window (start s, end s) is the height between its two points. Time, `ax` and
    what is raised: as for `trace`.
    """
    if ax is None:
        return _shown(alt, lambda own: energy_curve(curve, window=window, ax=own))
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
    return _figure_of(ax)


def bars(
    values: Mapping[str, Reading | Quantity], *, unit: str, alt: str = "", ax: Axes | None = None
) -> Figure:
    """Energies (or J/token, gCO2e, …) side by side, each with interval and provenance in words.

    A bar is solid only where the value was measured. A value below its sensor's resolution has no
    bar, only its bounds. `unit` is the unit of all values, e.g. "J/token"; `ax` as for `trace`.
    Raises ValueError without values or alt text, and where a value has another unit.
    """
    if not values:
        raise ValueError("bars needs at least one reading or quantity, got none")
    for name, value in values.items():
        if (own := "J" if isinstance(value, Reading) else value.unit) != unit:
            raise ValueError(f"{name!r} is in {own}, this figure is in {unit}: convert it first")
    if ax is None:
        size_in = (SIZE_IN[0], 0.95 + 0.74 * len(values))
        return _shown(alt, lambda own: bars(values, unit=unit, ax=own), size_in)
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
    return _figure_of(ax)


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
    text = _wrapped(f"{name}: {value.text}, {kind.value}", 56)
    place = ax.get_yaxis_transform() + _offset(ax, 4, 0)
    ax.text(0, row - 0.26, text, transform=place, va="bottom", fontsize=SMALL_PT)


def _best(value: Reading | Quantity) -> float:
    return value.joules if isinstance(value, Reading) else value.value


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
    place = ax.transData + _offset(ax, -9, 0)
    middle = max((low + high) / 2, 0.1 * ax.get_ylim()[1])  # clear of the axis below
    ax.text(right, middle, _wrapped(text, 22), transform=place, **look)


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
        place = ax.get_xaxis_transform() + _offset(ax, 0, 5 + ROW_PT * row)
        color = _color(spans, name)
        for piece in pieces:
            ax.plot(piece, (1, 1), transform=place, clip_on=False, color=color, linewidth=5)
        above = place + _offset(ax, 0, 3)
        ax.text(middle, 1, label, transform=above, ha="center", va="bottom", fontsize=SMALL_PT)


def _apart(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return all(a[1] <= b[0] + 1e-9 or b[1] <= a[0] + 1e-9 for a in some for b in others)


def _name_source(ax: Axes, handles: Sequence[Any]) -> None:
    """Name the axis of time, and beside it the provenance of what is drawn."""
    ax.set_xlabel("time (s)", loc="left")
    place = ax.transAxes + _offset(ax, 0, -22)
    look: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "handlelength": 1.6}
    ax.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(1, 0), bbox_transform=place, **look
    )


def _offset(ax: Axes, right_pt: float, up_pt: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right_pt / 72, up_pt / 72, _figure_of(ax).dpi_scale_trans)


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _shown(
    alt: str, draw: Callable[[Axes], Figure], size_in: tuple[float, float] = SIZE_IN
) -> Figure:
    from matplotlib.figure import Figure

    _alt(alt)
    with style():
        return show(draw(Figure(figsize=size_in).add_subplot()), alt=alt)


def _alt(text: str) -> str:
    if not text.strip():
        raise ValueError(
            "a figure needs alt text for those who cannot see it: pass alt= with one sentence that "
            "says what it shows, e.g. alt='Power rises from 60 to 300 W while the model decodes.'"
        )
    return text.strip()


def _no_echo() -> None:
    """Called by IPython in place of its own display of a figure that was shown."""


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


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
    return _wrapped(f"{info.provenance.value} ({details})", 40)


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)
