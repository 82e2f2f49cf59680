"""Record a lab: run its code cells in order without Jupyter, and write the reference run."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenkit.course.runs import reference_folder, write_record

SKIPPED_TAG = "colab"


class NotebookError(ValueError):
    """A notebook cannot be run or is not what the course expects."""


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as plain data. Raises NotebookError where it is not one."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotebookError(
            f"{path} does not exist; expected a notebook such as labs/01_….ipynb"
        ) from None
    except json.JSONDecodeError as error:
        raise NotebookError(f"{path} is not a notebook: {error}") from None
    if not isinstance(notebook, dict) or "cells" not in notebook:
        raise NotebookError(f"{path} is not a notebook: it has no cells")
    return notebook


def code_cells(notebook: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Number and source of each code cell that is plain Python."""
    for number, cell in enumerate(notebook["cells"]):
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "code" and SKIPPED_TAG not in tags:
            yield number, "".join(cell["source"])


def stamp(notebook: dict[str, Any]) -> str:
    """A hash of the code cells and of the greenkit functions that they call by name."""
    digest = hashlib.sha256()
    for _, source in code_cells(notebook):
        digest.update(source.encode())
    for source in sorted(_called(notebook)):
        digest.update(source.encode())
    return digest.hexdigest()


def _called(notebook: dict[str, Any]) -> set[str]:
    """Source of every greenkit function or class that the cells name after `gk.` or import."""
    import greenkit

    found: set[str] = set()
    names: dict[str, Any] = {"gk": greenkit, "greenkit": greenkit}
    for _, source in code_cells(notebook):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenkit"):
                named = [alias.name for alias in node.names]
                module = __import__(node.module or "", fromlist=named)  # submodules included
                names |= {a.asname or a.name: getattr(module, a.name) for a in node.names}
    for _, source in code_cells(notebook):
        for node in ast.walk(ast.parse(source)):
            target = _resolve(node, names)
            if inspect.isfunction(target) or inspect.isclass(target):
                found.add(inspect.getsource(target))
    return found


def _resolve(node: ast.AST, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, names)
        return getattr(owner, node.attr, None) if inspect.ismodule(owner) else None
    return None


def record(notebook: Path, *, full: bool = False, out: Path | None = None) -> Path:
    """Run a lab's code cells in order and write its reference run; returns the file.

    Needs no Jupyter. `full` runs every variant of the lab. `out` is the folder that holds one
    folder per device; by default the course's own labs/reference. Nothing is written where a cell
    fails. Raises NotebookError with the cell and its error.
    """
    path = Path(notebook)
    content = read_notebook(path)
    os.environ["GREENKIT_FULL"] = "1" if full else "0"
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.pop("GREENKIT_EXAMPLE_PREDICTIONS", None)
    from greenkit.course.lab import end_lab

    try:
        _run(path, list(code_cells(content)))
        return _write(path, stamp(content), out)
    finally:
        end_lab()


def _run(path: Path, cells: list[tuple[int, str]]) -> None:
    before = os.getcwd()
    names: dict[str, Any] = {"__name__": "__main__"}
    os.chdir(path.resolve().parent)
    try:
        for step, (number, source) in enumerate(cells, start=1):
            print(f"[{step}/{len(cells)}] {path.name}, cell {number}", file=sys.stderr)
            try:
                exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
            except Exception as error:
                raise NotebookError(
                    f"{path.name}, cell {number} failed: {type(error).__name__}: {error}"
                ) from error
    finally:
        os.chdir(before)


def _write(path: Path, code_stamp: str, out: Path | None) -> Path:
    from greenkit.course.lab import current_lab

    lab = current_lab()
    if lab is None:
        raise NotebookError(f"{path.name} started no lab: its setup cell must call gk.lab(…)")
    if not path.stem.endswith(f"_{lab.name}"):
        raise NotebookError(f"{path.name} started the lab {lab.name!r}; file and lab must agree")
    folder = (out or reference_folder()) / str(lab.device["slug"])
    return write_record(lab.record(code_stamp), folder / f"{path.stem}.json")
