"""Published rows: a number with its unit, year, source and how it was checked.

Typed once, from the citation; `source` is a key of the book's bibliography. The tag says how the
number was checked: "primary" was read in the source itself, "quoted" in a verbatim quotation of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TAGS = ("primary", "quoted")


class MixedSourcesError(ValueError):
    """Numbers of different sources were put into one comparison without saying so."""


@dataclass(frozen=True)
class Row:
    """One published number."""

    name: str
    value: float
    unit: str
    year: int
    source: str
    tag: str
    note: str = ""

    @property
    def text(self) -> str:
        """Value and unit as tables print them."""
        return f"{self.value:,g} {self.unit}".rstrip()

    def vs(self, other: Row, *, across: bool = False) -> float:
        """This value over another's, of one source and unit.

        Raises MixedSourcesError for two sources or years unless `across` is True, and ValueError
        for two units.
        """
        if self.unit != other.unit:
            raise ValueError(
                f"{self.name} is in {self.unit or 'no unit'}, {other.name} in "
                f"{other.unit or 'no unit'}: they have no ratio"
            )
        same((self, other), across=across)
        return self.value / other.value


def same(rows: Sequence[Row], *, across: bool = False) -> str:
    """The one source and year of all rows, for a caption.

    Raises MixedSourcesError where there are several, unless `across` is True.
    """
    sources = dict.fromkeys(f"{row.source}, {row.year}" for row in rows)
    if len(sources) > 1 and not across:
        raise MixedSourcesError(
            f"these numbers come from different sources ({'; '.join(sources)}), whose methods may "
            "differ more than what they describe; pass across=True if you must"
        )
    return "; ".join(sources)


def find(rows: Sequence[Row], name: str) -> Row:
    """The row of that name. Raises ValueError with the names that exist."""
    for row in rows:
        if row.name == name:
            return row
    raise ValueError(f"no row is called {name!r}; there are {', '.join(r.name for r in rows)}")
