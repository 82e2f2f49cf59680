"""Which reference runs exist, which are stale, and which are missing: ``make records``."""

from __future__ import annotations

import sys
from pathlib import Path

from greenkit.authoring.record import read_notebook, stamp
from greenkit.course.runs import read_record, reference_folder


def main(labs: Path = Path("labs")) -> int:
    """Print one line per lab and device; returns the number of stale records."""
    stale = 0
    for notebook in sorted(labs.glob("[0-9]*.ipynb")):
        current = stamp(read_notebook(notebook))
        kinds = set()
        for path in sorted(reference_folder().glob(f"*/{notebook.stem}.json")):
            run = read_record(path)
            kinds.add(run.kind)
            fresh = run.record["stamp"] == current
            stale += not fresh
            state = "fresh" if fresh else "STALE: the lab or its functions changed since"
            print(f"{notebook.stem}  {run.label}, {run.record['size']}: {state}")
        for kind in sorted({"cpu", "gpu"} - kinds):
            print(f"{notebook.stem}  {kind}: not recorded yet (greenkit record {notebook} --full)")
    return stale


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
