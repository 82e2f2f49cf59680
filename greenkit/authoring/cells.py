"""A notebook as plain data: its code cells, their ids, tags and headings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SKIPPED_TAG = "colab"
RECORDED_TAG = "recorded"


class NotebookError(ValueError):
    """A notebook cannot be run or is not what the course expects."""


@dataclass(frozen=True)
class Cell:
    """One code cell that is plain Python: its place, id, source and tags, and its section."""

    number: int
    id: str
    source: str
    tags: tuple[str, ...]
    heading: str

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"cell {self.number} ({self.heading})" if self.heading else f"cell {self.number}"


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


def code_cells(notebook: dict[str, Any]) -> Iterator[Cell]:
    """Each code cell that is plain Python, in order; the one that installs is left out."""
    heading = ""
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            titles = [line for line in source.splitlines() if line.startswith("#")]
            heading = titles[-1].lstrip("# ").strip() if titles else heading
            continue
        tags = tuple(cell.get("metadata", {}).get("tags", []))
        if cell["cell_type"] == "code" and SKIPPED_TAG not in tags:
            yield Cell(number, str(cell.get("id", number)), source, tags, heading)
