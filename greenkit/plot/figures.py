"""The look of a figure, and how it is shown: once, with alt text, the same bytes every time."""

from __future__ import annotations

import io
import sys
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypedDict

from greenkit.foundations import Provenance
from greenkit.plot.page import framed
from greenkit.plot.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

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
# What a page may set in place of these colors, so that a figure fits its theme.
THEMED = {INK: "--gk-ink", MUTED: "--gk-muted", GRID: "--gk-grid", CARD: "--gk-sheet"} | {
    color: f"--gk-color-{number}" for number, color in enumerate(COLORS)
}
SIZE_IN = (6.4, 3.6)
DPI = 150
SMALL_PT = 12.5


class Words(TypedDict, total=False):
    """What a figure is shown with: the arguments of `show`."""

    alt: str
    caption: str
    source: str


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


def show(figure: Figure, *, alt: str, caption: str = "", source: str = "") -> Figure:
    """Display a figure with its caption in Jupyter; elsewhere only check that it has alt text.

    The page numbers captions by itself. Alt text travels in the output, so a screen reader finds
    it in Jupyter, in Colab and in the built book. The figure does not appear a second time where
    it is the last value of a cell.

    Args:
        figure: what to show.
        alt: one sentence that says what the figure shows, for those who cannot see it.
        caption: what to learn from it, in a sentence or two.
        source: where its numbers come from: provenance, device, date, or a citation.

    Raises ValueError without alt text.
    """
    text = _alt(alt)
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close(figure)  # else Jupyter's own display adds it again, without alt text
    figure._ipython_display_ = _no_echo  # type: ignore[attr-defined]
    if _in_notebook():
        from IPython.display import display

        page = framed(inline_svg(figure, alt=text, colors=THEMED), caption, source)
        plain = " ".join(part for part in (f"[{text}]", caption, source) if part)
        display({"text/html": page, "text/plain": plain}, raw=True)  # type: ignore[no-untyped-call]
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


def shown(
    words: Words, draw: Callable[[Axes], Figure], size_in: tuple[float, float] = SIZE_IN
) -> Figure:
    from matplotlib.figure import Figure

    _alt(words.get("alt", ""))
    with style():
        return show(draw(Figure(figsize=size_in).add_subplot()), **words)


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


def offset(ax: Axes, right_pt: float, up_pt: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right_pt / 72, up_pt / 72, figure_of(ax).dpi_scale_trans)


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)
