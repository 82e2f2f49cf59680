"""Many variants side by side: one dot each, with its interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from greenkit.plot.figures import BLUE, CARD, INK, SIZE_IN, SMALL_PT, Words, figure_of, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Ends = tuple[float, float, float]

ROW_IN = 0.34
LOG_FROM = 10.0  # largest over smallest value from which the axis counts in factors


def dots(
    values: Mapping[str, Ends],
    *,
    label: str,
    reference: tuple[float, str] | None = None,
    hollow: Collection[str] = (),
    best: str | None = None,
    ax: Axes | None = None,
    **words: Unpack[Words],
) -> Figure:
    """Values of many variants, one dot a row, each with its interval.

    The axis counts in factors where the values span more than a factor of ten.

    Args:
        values: by name (value, low, high).
        label: of the axis, with the unit.
        reference: where to draw a line, such as the dense model at 1, and what it is called.
        hollow: names of values from elsewhere, such as a recorded run.
        best: the name to mark.
        ax, words: as for `trace`.

    Raises ValueError without values or alt text.
    """
    if not values:
        raise ValueError("dots needs at least one value, got none")
    if ax is None:
        size_in = (SIZE_IN[0], 1.1 + ROW_IN * len(values))

        def draw(own: Axes) -> Figure:
            return dots(values, label=label, reference=reference, hollow=hollow, best=best, ax=own)

        return shown(words, draw, size_in)
    for row, (name, (value, low, high)) in enumerate(values.items()):
        look: dict[str, Any] = {"color": BLUE, "ecolor": INK, "elinewidth": 1.4, "capsize": 4}
        face = CARD if name in hollow else BLUE
        ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
        marker = "D" if name == best else "o"
        ax.errorbar(value, row, xerr=ends, fmt=marker, markerfacecolor=face, markersize=8, **look)
    smallest = min(value for value, _, _ in values.values())
    if smallest > 0 and max(value for value, _, _ in values.values()) > LOG_FROM * smallest:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:,.0f}" if tick >= 1 else f"{tick:g}")
    if reference is not None:
        ax.axvline(reference[0], color=INK, linewidth=1.2, linestyle="--")
        ax.set_title(f"dashed: {reference[1]}", fontsize=SMALL_PT, loc="left")
    ax.set(yticks=range(len(values)), yticklabels=list(values), xlabel=label)
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    if best is not None:
        ax.get_yticklabels()[list(values).index(best)].set_fontweight("bold")
    return figure_of(ax)
