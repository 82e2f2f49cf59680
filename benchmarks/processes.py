"""Each tool in a process of its own, so that none sees what another one imported or started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tools import PACKAGES

ROOT = Path(__file__).parent.parent
LIMIT_S = 180.0


@dataclass(frozen=True)
class Job:
    """One task under one tool; see `benchmarks.probe` for tasks and their `spec`."""

    task: str
    tool: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def run(job: Job) -> dict[str, Any]:
    """The answer of one job, with its standard error as `log`; `error` where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.probe", job.task, job.tool]
        try:
            done = subprocess.run(
                [*command, json.dumps(job.spec), str(out)],
                cwd=folder,  # whatever a tool writes unasked goes with the folder
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "OPENBLAS_NUM_THREADS": "1",
                    **job.environment,
                },
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {LIMIT_S:g} s", "log": ""}
        log = done.stderr + done.stdout
        if not out.exists():
            return {"error": f"ended with code {done.returncode}", "log": log}
        answer: dict[str, Any] = json.loads(out.read_text())
        return {**answer, "log": log}


def run_together(jobs: Sequence[Job], *, delay_s: float) -> list[dict[str, Any]]:
    """The answers of jobs that mostly sleep; all begin `delay_s` from now, when imports are done.

    The instant is given to each as `start_s`, on ``time.perf_counter()``.
    """
    start_s = time.perf_counter() + delay_s
    timed = [Job(j.task, j.tool, {**j.spec, "start_s": start_s}, j.environment) for j in jobs]
    with ThreadPoolExecutor(max_workers=len(timed)) as pool:
        return list(pool.map(run, timed))


def import_times(tools: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds, wall and CPU, of a Python that imports each tool, and of one that does not.

    The same interpreter that does nothing is listed as "python". Rounds are interleaved.
    """
    statements = {"python": "pass", **{tool: f"import {PACKAGES[tool][1]}" for tool in tools}}
    if "greenkit" in tools:
        statements["greenkit, top level"] = "import greenkit"
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in statements}
    for _ in range(repeats + 1):
        for name, statement in statements.items():
            before, used = time.perf_counter(), _children_cpu_s()
            subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
            times[name].append((time.perf_counter() - before, _children_cpu_s() - used))
    return {  # the first round fills the disk's cache
        name: {"wall_s": median(w for w, _ in rows[1:]), "cpu_s": median(c for _, c in rows[1:])}
        for name, rows in times.items()
    }


def _children_cpu_s() -> float:
    used = os.times()
    return used.children_user + used.children_system
