"""One progress bar for every long step: a live line on a terminal, a few plain lines in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(label: str, total: int | None, unit: str, *, shown: bool = True) -> tqdm[Any]:
    """A tqdm bar on stderr over `total` units; silent if not `shown` or under TQDM_DISABLE."""
    from tqdm import tqdm

    if not shown:
        return tqdm(disable=True)
    scaled = unit == "B"
    if sys.stderr.isatty():
        return tqdm(desc=label, total=total, unit=unit, unit_scale=scaled, leave=False)
    return tqdm(
        desc=label,
        total=total,
        unit=unit,
        unit_scale=scaled,
        mininterval=10.0,  # a log gets a line every ten seconds, not ten a second
        bar_format="{desc}: {n_fmt}" + ("/{total_fmt}" if total else "") + " {unit} [{elapsed}]\n",
    )
