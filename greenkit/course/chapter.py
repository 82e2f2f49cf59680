"""What a chapter shows beside its prose: results that its own cell checks."""

from __future__ import annotations

from greenkit.course import cards
from greenkit.course.show import show_html


def key_result(text: str, holds: bool) -> None:
    """Show the result that a section should leave with its reader, and assert it.

    Numbers in `text` come from the same values as `holds`. Raises AssertionError where it does not
    hold: the chapter then fails its test.
    """
    if not holds:
        raise AssertionError(f"the result does not hold: {text}")
    show_html(cards.result(text), f"key result: {text}")
