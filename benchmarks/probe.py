"""One task under one tool, in a process of its own: ``python -m benchmarks.probe``."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.card import Truth
from benchmarks.tools import OPEN, PACKAGES, Result

Task = Callable[[str, dict[str, Any]], dict[str, Any]]


def windows(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Windows of several lengths on one card, at random instants or from step to step of its power.

    `spec`: lengths (a list of [seconds, count]), period_s (0: random instants, else each window
    begins with a period), varied (by how much lengths differ, relative), seed, and start_s (when
    to begin, on ``time.perf_counter()``).
    """
    draw = random.Random(spec["seed"])
    varied = spec["varied"]
    plan = [
        (nominal, nominal * draw.uniform(1 - varied, 1 + varied))
        for nominal, count in spec["lengths"]
        for _ in range(count)
    ]
    draw.shuffle(plan)
    truth, period_s = Truth(), spec["period_s"]
    meter = OPEN[tool](1 + len(plan))
    meter.begin()  # the first window of some tools takes seconds: see the task `start`
    meter.end()
    _sleep_until(spec["start_s"])
    edges = []
    for _, length in plan:
        start = time.perf_counter() + draw.uniform(0.02, 0.2)
        if period_s:
            start = (start // period_s + 1) * period_s
        _sleep_until(start)
        meter.begin()
        first = time.perf_counter()
        _sleep_until((start if period_s else first) + length)
        last = time.perf_counter()
        meter.end()
        edges.append((first, last))
    rows = []
    for (nominal, _), (first, last), result in zip(plan, edges, meter.close()[1:], strict=True):
        rows.append(
            {
                "length_s": nominal,
                "duration_s": last - first,
                "truth_j": truth.joules(0, first, last),
                "reported_j": result.gpu_j,
                "interval_j": result.interval_j,
                "random_j": result.random_j,
            }
        )
    return {"rows": rows}


def cards(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """One window on several cards of constant power; truth_j is the energy of cards `visible`."""
    truth = Truth()
    meter = OPEN[tool](1)
    _sleep_until(spec["start_s"])
    meter.begin()
    first = time.perf_counter()
    time.sleep(spec["seconds"])
    last = time.perf_counter()
    meter.end()
    return {
        "truth_j": sum(truth.joules(card, first, last) for card in spec["visible"]),
        **_told(meter.close()[0]),
    }


def burst(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Two threads multiply matrices for some seconds on this machine, without a simulated card."""
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((256, 256))
    counts = [0, 0]

    def multiply(thread: int, end_s: float) -> None:
        while time.perf_counter() < end_s:
            matrix @ matrix
            counts[thread] += 1

    meter = OPEN[tool](1)
    meter.begin()
    first, busy = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=multiply, args=(i, first + spec["seconds"])) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = {
        "duration_s": time.perf_counter() - first,
        "cpu_s": time.process_time() - busy,
        "products": sum(counts),
    }
    try:
        meter.end()
        return {**record, **_told(meter.close()[0])}
    except Exception as error:
        return {**record, "error": f"{type(error).__name__}: {error}"}


def start(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds from nothing to an open window and back to a result, twice in one process."""
    import_module(PACKAGES[tool][1])
    rounds = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        meter = OPEN[tool](1)
        meter.begin()
        record: dict[str, Any] = {
            "start_s": time.perf_counter() - wall,
            "start_cpu_s": time.process_time() - cpu,
        }
        time.sleep(0.3)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            meter.end()
            meter.close()
        except Exception as error:
            record["error"] = f"{type(error).__name__}: {error}"
        else:
            record["stop_s"] = time.perf_counter() - wall
            record["stop_cpu_s"] = time.process_time() - cpu
        rounds.append(record)
    return {"rounds": rounds}


def mark(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds that one empty window takes."""
    meter = OPEN[tool](spec["count"])
    seconds = []
    for _ in range(spec["count"]):
        before = time.perf_counter()
        meter.begin()
        meter.end()
        seconds.append(time.perf_counter() - before)
    meter.close()
    return {"seconds": seconds}


def background(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """CPU-seconds that an open window costs per second while the program sleeps."""
    meter = OPEN[tool](1)
    meter.begin()
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(spec["seconds"])
    return {"cpu_per_s": (time.process_time() - cpu) / (time.perf_counter() - wall)}


def loop(tool: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Time of the same Python loop with and without an open window, in alternation."""
    pairs = []
    for i in range(spec["pairs"]):
        pair: dict[str, float] = {}
        for metered in (True, False) if i % 2 else (False, True):
            meter = OPEN[tool](1) if metered else None
            if meter:
                meter.begin()
            wall, cpu = time.perf_counter(), time.thread_time()
            sum(k * k for k in range(spec["steps"]))
            name = "with" if metered else "without"
            pair[f"{name}_s"] = time.perf_counter() - wall
            pair[f"{name}_cpu_s"] = time.thread_time() - cpu
            if meter:
                meter.end()
                meter.close()
        pairs.append(pair)
    return {"pairs": pairs}


def _told(result: Result) -> dict[str, Any]:
    return {
        "total_j": result.total_j,
        "gpu_j": result.gpu_j,
        "parts_j": result.parts_j,
        "interval_j": result.interval_j,
        "said": result.said,
    }


def _sleep_until(time_s: float) -> None:
    time.sleep(max(0.0, time_s - time.perf_counter()))


TASKS: dict[str, Task] = {
    "windows": windows,
    "cards": cards,
    "burst": burst,
    "start": start,
    "mark": mark,
    "background": background,
    "loop": loop,
}


def main() -> None:
    """Arguments: task, tool, specification as JSON, file for the result as JSON."""
    task, tool, spec, out = sys.argv[1:]
    try:
        answer = TASKS[task](tool, json.loads(spec))
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path(out).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
