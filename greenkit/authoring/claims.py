"""Assert the claims about a full record anew, on its committed numbers and without a model."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenkit.authoring.cells import RECORDED_TAG, Cell, NotebookError
from greenkit.course.lab import MARGIN
from greenkit.course.runs import Run
from greenkit.foundations import Ratio


@dataclass
class RecordedLab:
    """What a cell of recorded claims sees as `lab`: the results of one record, and nothing live."""

    run: Run
    held: list[tuple[str, bool]] = field(default_factory=list)
    full: bool = True

    @property
    def recorded_kind(self) -> str:
        """ "cpu" or "gpu"."""
        return self.run.kind

    def recorded(self, name: str) -> Any:
        """A result of the record, as plain values. Raises NotebookError where it has none."""
        try:
            return self.run.record["results"][name]
        except KeyError:
            raise NotebookError(f"the record of {self.run.label} has no result {name!r}") from None

    def recorded_on(self, name: str) -> str:
        """Device and date of the record."""
        return self.run.label

    def claim(self, text: str, holds: bool, *, kind: str, evidence: object = None) -> None:
        """Note whether a claim holds. Raises NotebookError for one that needs a live run."""
        if kind != "recorded":
            raise NotebookError(f"a cell tagged recorded claims of kind {kind!r}: {text}")
        self.held.append((text, bool(holds)))

    def claim_ratio(self, text: str, ratio: Ratio, *, above_one: bool, kind: str) -> None:
        """The same for a ratio; one that cannot be told from 1 is no failure."""
        if ratio.excludes_one(MARGIN):
            self.claim(text, (ratio.value > 1) == above_one, kind=kind)

    def show(self, markdown: str) -> None:
        """Nothing is displayed here."""

    def show_table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], **look: object
    ) -> None:
        """Nothing is displayed here."""


def recorded_claims(cells: Sequence[Cell], run: Run) -> list[tuple[str, bool]]:
    """Each claim about a record that these cells make, and whether it holds on this one.

    Runs the cells tagged "recorded" alone: they know `lab` and `gk`, and import what else they
    need. Raises NotebookError where such a cell needs more.
    """
    import greenkit

    lab = RecordedLab(run)
    names: Mapping[str, Any] = {"lab": lab, "gk": greenkit, "__name__": "__main__"}
    for cell in cells:
        if RECORDED_TAG not in cell.tags:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                exec(compile(cell.source, cell.name, "exec"), dict(names))
            except NotebookError:
                raise
            except Exception as error:
                raise NotebookError(
                    f"{cell.name} cannot be run on the record of {run.label} alone: "
                    f"{type(error).__name__}: {error}"
                ) from error
    return lab.held
