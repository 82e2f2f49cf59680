"""Notebooks as the course commits them: executed, normalized, and checked to be fresh.

``python -m greenkit.authoring.notebooks --execute FILE…`` runs and writes them;
``--check FILE…`` says in milliseconds whether the committed outputs belong to the code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenkit.authoring.cells import read_notebook
from greenkit.authoring.folds import name_folds, page_fault
from greenkit.course.cards import budget
from greenkit.course.runs import (
    QUICK,
    quick_runs,
    read_record,
    reference_folder,
    reference_runs,
    write_record,
)

KEY = "greenkit"
CARD_TAG = "budget-card"
LIMIT_BYTES = 2_000_000
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def source_hash(notebook: dict[str, Any]) -> str:
    """A hash of all code cells, tags included: outputs that carry it belong to this code."""
    digest = hashlib.sha256()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            digest.update("".join(cell["source"]).encode())
            digest.update(json.dumps(cell.get("metadata", {}).get("tags", [])).encode())
    return digest.hexdigest()


def execute(path: Path, *, timeout_s: int = 300) -> None:
    """Run a notebook from top to bottom in a fresh kernel and write it with its outputs.

    Nothing is written where a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ["GREENKIT_EXAMPLE_PREDICTIONS"] = "1"
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [nbformat.from_dict(o) for o in _tidy(cell.outputs)]
    name_folds(notebook.cells)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}, KEY: {}}
    )
    notebook.metadata[KEY]["source_sha256"] = source_hash(notebook)
    if keep_quick_run(path) is not None:
        renew_card(notebook.cells, path.stem.partition("_")[2])
    nbformat.write(notebook, path)


def renew_card(cells: Sequence[Any], lab: str) -> None:
    """Show in a lab's card the run that it just left: the card was drawn before that run ended."""
    page, plain = budget(reference_runs(lab), quick_runs(lab))
    for cell in cells:
        if CARD_TAG in cell["metadata"].get("tags", []):
            cell["outputs"][0]["data"] = {"text/html": page, "text/plain": plain}


def keep_quick_run(path: Path) -> Path | None:
    """Keep the run that a lab just left in labs/out as what it takes a learner on this device.

    Results, traces and predictions stay out: the full recording has them. Returns the file, or
    None where the notebook is no lab.
    """
    left = path.parent / "out" / path.stem.partition("_")[2] / "run.json"
    if not left.is_file():
        return None
    run = read_record(left).record
    left_out: dict[str, Any] = {name: {} for name in ("predictions", "results", "made_by")}
    left_out |= {"decision": {}, "traces": [], "claims": []}
    folder = reference_folder() / run["device"]["slug"]
    return write_record({**run, **left_out}, folder / f"{path.stem}{QUICK}")


def _tidy(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """Join the pieces of a stream and keep of a rewritten line only what stands at the end."""
    tidy: list[dict[str, Any]] = []
    for output in outputs:
        output = dict(output)
        is_stream = output["output_type"] == "stream"
        if is_stream and tidy and tidy[-1].get("name") == output["name"]:
            tidy[-1]["text"] += output["text"]
        else:
            tidy.append(output)
    for output in tidy:
        if output["output_type"] == "stream":
            lines = output["text"].split("\n")
            output["text"] = "\n".join(line.rsplit("\r", 1)[-1] for line in lines)
    return tidy


def faults(path: Path) -> list[str]:
    """What is wrong with a committed notebook; empty where it is fresh and clean."""
    notebook = read_notebook(path)
    found = []
    if notebook["metadata"].get(KEY, {}).get("source_sha256") != source_hash(notebook):
        found.append("its outputs belong to other code: run `make labs` and commit the result")
    count = 0
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        count += 1
        if cell.get("execution_count") != count:
            found.append(f"cell {number} was not run in order")
        if "execution" in cell.get("metadata", {}):
            found.append(f"cell {number} carries timing metadata")
        if (fault := page_fault(cell)) is not None:
            found.append(f"cell {number} {fault}")
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in cell["metadata"].get(
                "tags", []
            ):
                found.append(f"cell {number} ended in {output['ename']}")
            if output.get("name") == "stderr":
                found.append(f"cell {number} wrote to stderr: {''.join(output['text'])[:80]!r}")
    if path.stat().st_size > LIMIT_BYTES:
        found.append(f"it is larger than {LIMIT_BYTES / 1e6:g} MB")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the number of notebooks with faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--execute", action="store_true", help="run and write the notebooks")
    action.add_argument("--check", action="store_true", help="report stale or unclean notebooks")
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    bad = 0
    for path in options.files:
        if options.execute:
            print(f"running {path}", flush=True)
            execute(path)
        found = faults(path)
        bad += bool(found)
        for fault in found:
            print(f"{path}: {fault}", file=sys.stderr)
    return bad


if __name__ == "__main__":
    sys.exit(main())
