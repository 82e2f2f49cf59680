"""Run the whole comparison, write one result file and print its tables."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import card, suite
from benchmarks.simulation import simulate
from benchmarks.tables import show
from benchmarks.tools import versions
from greenkit.metering.estimate import cpu_name

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Plan:
    """How much to run: windows of each length as (random, aligned), and repeats of the rest."""

    counts: dict[float, tuple[int, int]]
    simulated: int
    card_s: float
    burst_s: float
    bursts: int
    repeats: int
    background_s: float
    pairs: int


FULL = Plan(
    {5: (8, 8), 1: (15, 20), 0.5: (25, 40), 0.1: (100, 80), 0.05: (150, 100)},
    simulated=600,
    card_s=3.037,
    burst_s=5.0,
    bursts=3,
    repeats=3,
    background_s=10.0,
    pairs=20,
)
QUICK = Plan(
    {5: (1, 1), 1: (2, 2), 0.5: (3, 3), 0.1: (5, 5), 0.05: (5, 5)},
    simulated=20,
    card_s=1.037,
    burst_s=1.0,
    bursts=1,
    repeats=1,
    background_s=1.0,
    pairs=2,
)


def main() -> None:
    """See benchmarks/README.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="result file (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a trial run: too few windows to use")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        try:
            card.build(Path(name))
        except card.CannotBuildError as error:
            sys.exit(f"cannot run the benchmark: {error}")
        record = measure(Path(name), QUICK if arguments.quick else FULL)
    arguments.out.write_text(compact(record))
    print(show(record))
    print(f"\n{record['wall_s']:.0f} s; written to {arguments.out}")


def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Every part, with the machine, the versions and the load that it ran under."""
    began = time.perf_counter()
    installed = versions()
    tools = [tool for tool, number in installed.items() if number]
    parts: dict[str, Callable[[], Any]] = {
        "burst": lambda: suite.cpu_burst(tools, plan.burst_s, plan.bursts),
        "costs": lambda: suite.costs(tools, folder, plan.repeats, plan.background_s, plan.pairs),
        "windows": lambda: suite.window_errors(tools, folder, plan.counts),
        "cards": lambda: suite.several_cards(tools, folder, plan.card_s),
        "simulation": lambda: simulate(plan.simulated),
    }
    results, loads = {}, {}
    for name, part in parts.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        loads[name] = os.getloadavg()[0]
        results[name] = part()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cpu": cpu_name(),
            "logical_cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {tool: number or "not installed" for tool, number in installed.items()},
        "libraries": {name: version(name) for name in ("numpy", "nvidia-ml-py", "psutil")},
        "tick_s": card.TICK_S,
        "load_before": loads,
        "wall_s": time.perf_counter() - began,
        **results,
    }


def compact(record: dict[str, Any]) -> str:
    """JSON with one line per list of numbers, so that a difference can be read."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    return text + "\n"


if __name__ == "__main__":
    main()
