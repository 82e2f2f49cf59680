"""Tables, numbers and JSON as the command line prints them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from greenkit.foundations import Reading


def table_of(*columns: str) -> Table:
    """An empty table with these columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:  # only the last may wrap, so that no value is torn apart
        table.add_column(column, no_wrap=column != columns[-1])
    return table


def print_table(table: Table, *, err: bool = False) -> None:
    """Print a table to stdout or stderr."""
    from rich.console import Console

    Console(stderr=err, markup=False, highlight=False).print(table)


def seconds(value: float) -> str:
    """A length of time in words."""
    return f"{value:.2g} s" if math.isfinite(value) else "not seen in 1 s"


def power(reading: Reading) -> str:
    """The mean power of a reading, with the digits that it deserves."""
    digits, mark = (2, "~") if reading.factor > 1 else (3, "")
    return f"{mark}{reading.power_w:.{digits}g} W"


def json_text(value: Any) -> str:
    """The value as JSON, null where there is no number for it."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """The same value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
