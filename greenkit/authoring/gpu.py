"""All that a GPU is needed for, in one go: ``make gpu``.

Tests that need CUDA, the meter against the card's own counter, then a full record of every lab,
each in a process of its own. A lab that fails does not stop the others, and one whose record of
this device is wholly fresh is skipped, so that the command can be given again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenkit.authoring.cells import code_cells, read_notebook
from greenkit.authoring.records import stale_results
from greenkit.course.device import device_facts
from greenkit.course.runs import read_record, reference_folder

LAB_S = 240.0  # a lab that takes longer on a GPU has lost its way
CHECK_S = 60.0
TAIL = 3000


@dataclass(frozen=True)
class Step:
    """One thing that was run, and how it ended."""

    name: str
    state: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns how many steps failed, or 1 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=None, help="folder of records and logs")
    parser.add_argument("--seconds", type=float, default=3600.0, help="start nothing after that")
    parser.add_argument("--labs", nargs="*", default=None, help="numbers of labs; all by default")
    parser.add_argument("--only-labs", action="store_true", help="no tests and no check")
    options = parser.parse_args(arguments)
    facts = device_facts()
    if facts["kind"] != "gpu":
        print("make gpu needs an NVIDIA GPU whose energy can be read; this machine has none.")
        return 1
    records = options.out or reference_folder()
    logs = options.out or Path("_build/gpu")
    logs.mkdir(parents=True, exist_ok=True)
    end_s = time.perf_counter() + options.seconds
    print(f"{facts['name']}: records go to {records / facts['slug']}, logs to {logs}")
    steps = []
    if not options.only_labs:
        tests = [sys.executable, "-m", "pytest", "-m", "cuda", "tests", "-p", "no:cacheprovider"]
        steps.append(run("tests that need CUDA", tests, logs / "tests.log", LAB_S))
        meter = [sys.executable, "-m", "greenkit.metering.check"]
        steps.append(run("the meter against the counter", meter, logs / "meter.log", CHECK_S))
    for notebook in sorted(Path("labs").glob("[0-9]*.ipynb")):
        if options.labs is not None and notebook.stem[:2] not in options.labs:
            continue
        left_s = end_s - time.perf_counter()
        if fresh(notebook, records / facts["slug"]):
            steps.append(Step(notebook.stem, "fresh, skipped", 0.0))
        elif left_s <= 0:
            steps.append(Step(notebook.stem, "not started: out of time", 0.0))
        else:
            command = [sys.executable, "-m", "greenkit", "record", str(notebook), "--full"]
            command += ["--out", str(records)]
            log = logs / f"{notebook.stem}.log"
            steps.append(run(notebook.stem, command, log, min(LAB_S, left_s)))
    print("\n".join(f"{s.name:32} {s.seconds:6.0f} s  {s.state}" for s in steps))
    return sum(step.state.startswith("failed") for step in steps)


def fresh(notebook: Path, folder: Path) -> bool:
    """Whether a folder has a full record of a lab with no stale result."""
    path = folder / f"{notebook.stem}.json"
    if not path.is_file():
        return False
    run = read_record(path)
    cells = list(code_cells(read_notebook(notebook)))
    return run.record["size"] == "full" and not stale_results(cells, run)


def run(name: str, command: Sequence[str], log: Path, limit_s: float) -> Step:
    """Run a command with its output in a log; print the end of the log where it fails."""
    print(f"{name} …", flush=True)
    start_s = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        try:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=limit_s, check=False
            ).returncode
            state = "done" if code == 0 else f"failed (exit code {code})"
        except subprocess.TimeoutExpired:
            state = f"failed: longer than {limit_s:.0f} s"
    seconds = time.perf_counter() - start_s
    print(f"{name}: {state} in {seconds:.0f} s", flush=True)
    if state != "done":
        print(log.read_text(encoding="utf-8", errors="replace")[-TAIL:], flush=True)
    return Step(name, state, seconds)


if __name__ == "__main__":
    sys.exit(main())
