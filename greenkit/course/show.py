"""Show text, tables and numbers in Jupyter, and as plain text where there is no Jupyter."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def in_jupyter() -> bool:
    """True inside a Jupyter kernel."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def show_markdown(markdown: str) -> None:
    """Display Markdown in Jupyter, or print it."""
    if not in_jupyter():
        print(markdown)
        return
    from IPython.display import display

    display({"text/markdown": markdown, "text/plain": markdown}, raw=True)  # type: ignore[no-untyped-call]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped so that a bar does not break it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


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
