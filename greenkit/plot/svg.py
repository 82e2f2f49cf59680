"""A figure as SVG inside a page: text stays text, and its colors follow the page's theme."""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

FONTS = "'DejaVu Sans', Verdana, 'Segoe UI', system-ui, sans-serif"  # of similar width
PT_PER_IN = 72
LARGEST = 1.45  # times its size in points: as wide as a column of the book

_NEEDLESS = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>"
    r"|<defs>\s*<style.*?</style>\s*</defs>"  # would hold for the whole page
    r"|(?<=<g) id=\"[^\"]*\"| transform=\"rotate\(-0 [^\"]*\"|(?<=\") *\bfont-family: [^;]*; *"
    r"|(?<=; )font-family: [^;]*; *|xlink:(?=href)",
    re.DOTALL,
)
_ID = re.compile(r"(\bid=\"|url\(#|href=\"#)")
_COORDINATES = re.compile(r"(\b(?:d|points|x|y|width|height)=\"|(?:translate|rotate)\()([^\")]*)")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def inline_svg(figure: Figure, *, alt: str, colors: Mapping[str, str]) -> str:
    """A figure as one `<svg>` element; the same figure gives the same text.

    Args:
        figure: what to draw.
        alt: what a screen reader says in its place.
        colors: by color such as "#22272B", the CSS variable that a page may set in its place.
    """
    import matplotlib

    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "greenkit"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = _NEEDLESS.sub("", drawn.getvalue())
    svg = _COORDINATES.sub(lambda found: found[1] + _rounded(found[2]), svg)
    for color, variable in colors.items():
        svg = re.sub(color, f"var({variable}, {color})", svg, flags=re.IGNORECASE)
    mark = hashlib.sha256((alt + svg).encode()).hexdigest()[:6]  # ids differ between figures
    svg = _ID.sub(lambda found: f"{found[1]}{mark}-", svg)
    width, height = (PT_PER_IN * side for side in figure.get_size_inches())
    head = (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width:g} {height:g}" '
        f'xmlns="http://www.w3.org/2000/svg" style="width: 100%; '
        f"max-width: {LARGEST * width:.0f}px; height: auto; stroke-linejoin: round; "
        f'font-family: {FONTS}">'
    )
    svg = re.sub(r"<svg\b[^>]*>", lambda _: head, svg, count=1)
    return re.sub(r">\s+<", "><", re.sub(r"\s+", " ", svg)).strip()


def _rounded(numbers: str) -> str:
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", numbers)
