"""Which reference runs exist, which results are stale, and which claims hold: ``make records``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from greenkit.authoring.cells import Cell, NotebookError, code_cells, read_notebook
from greenkit.authoring.claims import recorded_claims
from greenkit.authoring.producers import changed, producers
from greenkit.course.runs import Run, read_record, reference_folder

CAUSES = 3


def stale_results(cells: Sequence[Cell], run: Run) -> dict[str, str]:
    """Results of a record whose own producers changed since, each with what changed."""
    made_by, then = run.record["made_by"], run.record["producers"]
    now = producers(cells, sorted(set(made_by.values())))
    stale = {}
    for result in run.record["results"]:
        cell = made_by.get(result)
        if cell is None:
            stale[result] = "the record does not say what made it"
        elif cell not in now:
            stale[result] = f"the cell {cell} that kept it is gone"
        elif causes := changed(then.get(cell, {}), now[cell]):
            rest = f" and {len(causes) - CAUSES} more" if len(causes) > CAUSES else ""
            stale[result] = f"{', '.join(causes[:CAUSES])}{rest} changed"
    return stale


def main(labs: Path = Path("labs"), folder: Path | None = None) -> int:
    """Print what there is of each lab and device; returns the number of faults.

    A fault is a stale result or a claim that does not hold on a record.
    """
    faults = 0
    for notebook in sorted(labs.glob("[0-9]*.ipynb")):
        cells = list(code_cells(read_notebook(notebook)))
        kinds = set()
        for path in sorted((folder or reference_folder()).glob(f"*/{notebook.stem}.json")):
            run = read_record(path)
            kinds.add(run.kind)
            stale = stale_results(cells, run)
            try:
                claims = recorded_claims(cells, run)
            except NotebookError as error:
                claims = [(str(error), False)]
            failed = [text for text, holds in claims if not holds]
            faults += len(stale) + len(failed)
            state = f"{len(run.record['results'])} results"
            state += f", {len(stale)} stale" if stale else ", all fresh"
            state += f"; {len(claims) - len(failed)} of {len(claims)} recorded claims hold"
            print(f"{notebook.stem}  {run.label}, {run.record['size']}: {state}")
            for result, why in stale.items():
                print(f"    STALE {result}: {why}")
            for text in failed:
                print(f"    DOES NOT HOLD {text}")
        for kind in sorted({"cpu", "gpu"} - kinds):
            print(f"{notebook.stem}  {kind}: not recorded yet (greenkit record {notebook} --full)")
    return faults


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
