"""One look for every figure of the course: safe colors, units, provenance, and alt text.

Nothing here uses pyplot: a figure is drawn, shown once, and returned. In a notebook it appears
only through `show`, which asks for its alt text.
"""

from greenkit.plot.dots import dots
from greenkit.plot.energies import bars
from greenkit.plot.figures import (
    BLUE,
    CARD,
    COLORS,
    GRID,
    HATCHES,
    INK,
    MUTED,
    SMALL_PT,
    VERMILION,
    png,
    show,
    style,
)
from greenkit.plot.page import badged
from greenkit.plot.traces import energy_curve, trace

__all__ = [
    "BLUE",
    "CARD",
    "COLORS",
    "GRID",
    "HATCHES",
    "INK",
    "MUTED",
    "SMALL_PT",
    "VERMILION",
    "badged",
    "bars",
    "dots",
    "energy_curve",
    "png",
    "show",
    "style",
    "trace",
]
