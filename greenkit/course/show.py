"""Show text, tables and numbers in Jupyter, and as plain text where there is no Jupyter."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from greenkit.plot.page import badged

RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
NUMBER = re.compile(r"(?:\*\*)?[~−+<>≤≥±-]?\d")


def in_jupyter() -> bool:
    """True inside a Jupyter kernel."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def show_markdown(markdown: str) -> None:
    """Display Markdown in Jupyter, or print it."""
    _show("text/markdown", markdown, markdown)


def show_html(page: str, plain: str) -> None:
    """Display HTML in Jupyter, or print the plain text."""
    _show("text/html", page, plain)


def _show(kind: str, content: str, plain: str) -> None:
    if not in_jupyter():
        print(plain)
        return
    from IPython.display import display

    display({kind: content, "text/plain": plain}, raw=True)  # type: ignore[no-untyped-call]


def markdown_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    best: int | None = None,
    note: str = "",
    fold: str = "",
) -> str:
    """A Markdown table whose columns of numbers are aligned to the right.

    Words of provenance become badges. Cells are escaped so that a bar does not break them.

    Args:
        header, rows: texts; what all rows share belongs into the note.
        best: the number of the row to mark.
        note: a line below the table.
        fold: where it is given, the table lies in a fold of that name.
    """
    cells = [[badged(str(cell).replace("|", "\\|")) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True)) if cells else [()] * len(header)
    rule = ["---:" if _numbers(column) else "---" for column in columns]
    if best is not None:
        cells[best] = [f"**{cell}**" if cell else "" for cell in cells[best]]
    lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *cells)]
    table = "\n".join(lines) + (f"\n\n{badged(note)}" if note else "")
    return folded(table, fold) if fold else table


def folded(markdown: str, name: str) -> str:
    """Markdown in a fold of that name."""
    return f"<details><summary>{name}</summary>\n\n{markdown}\n\n</details>"


def _numbers(column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    return bool(filled) and all(NUMBER.match(cell) for cell in filled)


def number(value: float, digits: int = 3) -> str:
    """A number for people: 5,450 and 0.0023, and a power of ten only far from 1."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -4 <= power < 7:
        rest = f"{value / 10**power:.{digits - 1}f}".rstrip("0").rstrip(".")
        return f"{rest} × 10{str(power).translate(RAISED)}".replace("-", "−")
    rounded = round(value, digits - 1 - power)
    return f"{rounded:,.{max(0, digits - 1 - power)}f}".replace("-", "−")


def glue(name: str, value: Any) -> None:
    """Hand a value to the prose of the same notebook, where ``{glue:text}`` prints it.

    Does nothing outside Jupyter.
    """
    if not in_jupyter():
        return
    from IPython.display import display

    display(  # type: ignore[no-untyped-call]
        {"application/papermill.record/text/plain": repr(value)},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    )
