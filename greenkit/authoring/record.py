"""Record a lab: run its code cells in order without Jupyter, and write the reference run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenkit.authoring.cells import Cell, NotebookError, code_cells, read_notebook
from greenkit.authoring.producers import producers
from greenkit.course.runs import reference_folder, write_record

TOLD_S = 5.0  # a cell that took longer is named again, with its time


def record(notebook: Path, *, full: bool = False, out: Path | None = None) -> Path:
    """Run a lab's code cells in order and write its reference run; returns the file.

    Needs no Jupyter. `full` runs every variant of the lab. `out` is the folder that holds one
    folder per device; by default the course's own labs/reference. Nothing is written where a cell
    fails. Raises NotebookError with the cell and its error.
    """
    path = Path(notebook)
    cells = list(code_cells(read_notebook(path)))
    os.environ["GREENKIT_FULL"] = "1" if full else "0"
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.pop("GREENKIT_EXAMPLE_PREDICTIONS", None)
    from greenkit.course.lab import end_lab

    try:
        _run(path, cells)
        return _write(path, cells, out)
    finally:
        end_lab()


def _run(path: Path, cells: Sequence[Cell]) -> None:
    from greenkit.course.lab import current_lab

    before, begun_s = os.getcwd(), time.perf_counter()
    names: dict[str, Any] = {"__name__": "__main__"}
    os.chdir(path.resolve().parent)
    try:
        for step, cell in enumerate(cells, start=1):
            start_s = time.perf_counter()
            _tell(f"[{step}/{len(cells)}] {_clock(start_s - begun_s)} {path.stem}, {cell.name}")
            if (lab := current_lab()) is not None:
                lab.cell = cell.id
            try:
                exec(compile(cell.source, f"{path.name}, {cell.name}", "exec"), names)
            except Exception as error:
                raise NotebookError(
                    f"{path.name}, {cell.name} failed: {type(error).__name__}: {error}"
                ) from error
            if (took_s := time.perf_counter() - start_s) > TOLD_S:
                _tell(f"    {cell.name} took {took_s:.0f} s")
        _tell(f"{path.stem}: {len(cells)} cells in {_clock(time.perf_counter() - begun_s)}")
    finally:
        os.chdir(before)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _write(path: Path, cells: Sequence[Cell], out: Path | None) -> Path:
    from greenkit.course.lab import current_lab

    lab = current_lab()
    if lab is None:
        raise NotebookError(f"{path.name} started no lab: its setup cell must call gk.lab(…)")
    if not path.stem.endswith(f"_{lab.name}"):
        raise NotebookError(f"{path.name} started the lab {lab.name!r}; file and lab must agree")
    folder = (out or reference_folder()) / str(lab.device["slug"])
    made = producers(cells, sorted(set(lab.made_by.values())))
    return write_record(lab.record(made), folder / f"{path.stem}.json")
