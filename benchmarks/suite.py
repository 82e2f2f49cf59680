"""What is run under every tool, and what is kept of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.card import TICK_S, UUID, environment, wave
from benchmarks.processes import Job, import_times, run, run_together
from benchmarks.summaries import summary

LENGTHS_S = (5.0, 1.0, 0.5, 0.1, 0.05)
WAVES = {
    "constant 200 W": "200",
    "square 60/300 W, 0.37 s": wave(60, 300, 0.37, 0.185),
    "20 ms bursts 60/300 W, 0.43 s": wave(60, 300, 0.43, 0.02),
}
STEP = "one step up, one down, 60/300 W"
REST_S = 0.25  # at least, between two works; the golden rest makes steps wander through the tick
UNEVEN = 1.037  # no whole number of ticks, or the errors of both edges would cancel
CARDS_W = (200, 100)
MASKS: dict[str, tuple[dict[str, str], list[int]]] = {
    "no mask": ({}, [0, 1]),
    "CUDA_VISIBLE_DEVICES=1": ({"CUDA_VISIBLE_DEVICES": "1"}, [1]),
    "CUDA_VISIBLE_DEVICES=GPU-…": ({"CUDA_VISIBLE_DEVICES": UUID.format(1)}, [1]),
}
PROVENANCE = re.compile(r"\b(measured|estimated|model+ed|simulated|replayed)\b", re.IGNORECASE)
TELLING = re.compile(
    r"TDP|fall(ing)? ?back|estimat|default power|tracking mode|Tracking Method|PUE|too short"
    r"|not found|don't know|No GPU|unable to find|average carbon intensity|measured as zero",
    re.IGNORECASE,
)
NOISE = re.compile(r"^\S*(CarbonTracker: |\[codecarbon (\w+) @ [\d:]+\] )|\s+$|^\s+|https?://\S+")


def window_errors(
    tools: Sequence[str], folder: Path, counts: Mapping[float, tuple[int, int]]
) -> list[dict[str, Any]]:
    """Windows on a counter that ticks every 100 ms; `counts` of random and of aligned ones."""
    cases: list[tuple[str, str, Job]] = []
    for tool in tools:
        for name, notation in WAVES.items():
            spec = {
                "lengths": [[length, counts[length][0]] for length in LENGTHS_S],
                "period_s": 0.0,
                "varied": 0.1,
                "seed": len(cases),
            }
            cases.append((name, "random", Job("windows", tool, spec, _one_card(folder, notation))))
        for length in LENGTHS_S:
            work_s = length * UNEVEN
            period_s = TICK_S * (math.ceil((work_s + REST_S) / TICK_S) + 0.618)
            spec = {
                "lengths": [[work_s, counts[length][1]]],
                "period_s": period_s,
                "varied": 0.0,
                "seed": len(cases),
            }
            notation = wave(60, 300, period_s, work_s)
            cases.append((STEP, "aligned", Job("windows", tool, spec, _one_card(folder, notation))))
    rows = []
    for kind in ("random", "aligned"):
        group = [case for case in cases if case[1] == kind]
        answers = run_together([job for _, _, job in group], delay_s=1.5 * len(group))
        for (name, windows, job), answer in zip(group, answers, strict=True):
            for nominal in LENGTHS_S:
                row = {"tool": job.tool, "wave": name, "windows": windows, "length_s": nominal}
                raw = [r for r in answer.get("rows", ()) if _near(r["length_s"], nominal)]
                if raw:
                    rows.append({**row, **_errors(raw)})
                elif "error" in answer and (windows == "random" or _asked(job, nominal)):
                    rows.append({**row, "error": answer["error"]})
    return rows


def _one_card(folder: Path, notation: str) -> dict[str, str]:
    return environment(folder, {"FAKE_NVML_COUNT": "1", "FAKE_NVML_WAVE": notation})


def _near(length: float, nominal: float) -> bool:
    return abs(length / nominal - 1) < 0.2


def _asked(job: Job, nominal: float) -> bool:
    return _near(job.spec["lengths"][0][0], nominal)


def _errors(raw: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = [r for r in raw if r["reported_j"] is not None]
    row: dict[str, Any] = {
        "asked": len(raw),
        "zero": sum(r["reported_j"] == 0 for r in told),
        **(summary([r["reported_j"] / r["truth_j"] for r in told]) if told else {"count": 0}),
    }
    stated = [r for r in told if r["interval_j"] and r["random_j"]]
    for key, share in (("interval_j", "covered"), ("random_j", "covered_random")):
        if stated:
            holds = [r[key][0] <= r["truth_j"] <= r[key][1] for r in stated]
            row[share] = sum(holds) / len(stated)
    raw_values = {key: [r[key] for r in raw] for key in ("duration_s", "truth_j", "reported_j")}
    if stated:
        widths = [(r["random_j"][1] - r["random_j"][0]) / 2 / r["truth_j"] for r in stated]
        row["half_width_random"] = fmean(widths)
        raw_values["low_j"] = [r["random_j"] and r["random_j"][0] for r in raw]
        raw_values["high_j"] = [r["random_j"] and r["random_j"][1] for r in raw]
    row["raw"] = {
        key: [None if value is None else float(f"{value:.6g}") for value in values]
        for key, values in raw_values.items()
    }
    return row


def several_cards(tools: Sequence[str], folder: Path, seconds: float) -> list[dict[str, Any]]:
    """The total of two cards, and of the one that a mask shows to the program."""
    settings = {"FAKE_NVML_COUNT": str(len(CARDS_W)), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    for card, watts in enumerate(CARDS_W):
        settings[f"FAKE_NVML_WAVE_{card}"] = str(watts)
    cases = [(tool, mask) for tool in tools for mask in MASKS]
    jobs = []
    for tool, mask in cases:
        extra, visible = MASKS[mask]
        spec = {"seconds": seconds, "visible": visible}
        jobs.append(Job("cards", tool, spec, environment(folder, {**settings, **extra})))
    rows = []
    for (tool, mask), answer in zip(
        cases, run_together(jobs, delay_s=1.5 * len(jobs)), strict=True
    ):
        row = {"tool": tool, "mask": mask, **_without_log(answer)}
        if row.get("gpu_j") is not None:
            row["ratio"] = row["gpu_j"] / row["truth_j"]
        rows.append(row)
    return rows


def cpu_burst(tools: Sequence[str], seconds: float, repeats: int) -> list[dict[str, Any]]:
    """The same burst of this machine's CPU under each tool, and what each says of its value."""
    rows = []
    for repeat in range(repeats):
        for tool in tools:
            answer = run(Job("burst", tool, {"seconds": seconds}))
            row = {"tool": tool, "repeat": repeat, **_without_log(answer)}
            words = PROVENANCE.findall(answer.get("said", ""))
            row["provenance_in_result"] = sorted({word.lower() for word in words})
            row["log"] = telling(answer["log"])
            rows.append(row)
    return rows


def telling(log: str) -> list[str]:
    """The lines of a log that say how a value came about, without their time stamps."""
    lines = (NOISE.sub("", line) for line in log.splitlines() if TELLING.search(line))
    return list(dict.fromkeys(line for line in lines if line))


def costs(
    tools: Sequence[str], folder: Path, repeats: int, seconds: float, pairs: int
) -> dict[str, Any]:
    """What a tool costs: import, start, stop, a window, its background, the loop beside it."""
    record: dict[str, Any] = {"import": import_times(tools, repeats)}
    for sensors, extra in (("no sensor", {}), ("one simulated card", _one_card(folder, "200"))):
        kept = record[sensors] = {}
        for tool in tools:
            starts = [run(Job("start", tool, environment=extra)) for _ in range(repeats)]
            marks = run(Job("mark", tool, {"count": 100}, extra))
            kept[tool] = {**_starts(starts), **_marks(marks)}
    card = _one_card(folder, "200")
    jobs = [Job("background", tool, {"seconds": seconds}, card) for tool in tools]
    for tool, answer in zip(tools, run_together(jobs, delay_s=0), strict=True):
        record["one simulated card"][tool]["background_cpu_per_s"] = answer.get("cpu_per_s")
    for tool in tools:
        answer = run(Job("loop", tool, {"pairs": pairs, "steps": 2_000_000}, card))
        record["one simulated card"][tool]["loop"] = _loop(answer)
    return record


def _starts(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for i, name in enumerate(("first", "second")):
        rounds = [answer["rounds"][i] for answer in answers if "rounds" in answer]
        for key in ("start_s", "start_cpu_s", "stop_s", "stop_cpu_s"):
            values = [r[key] for r in rounds if key in r]
            kept[f"{name}_{key}"] = values
        errors = [r["error"] for r in rounds if "error" in r]
        if errors:
            kept[f"{name}_error"] = errors[0]
    return kept


def _marks(answer: Mapping[str, Any]) -> dict[str, Any]:
    if "seconds" not in answer:
        return {"window_s": None, "window_error": answer["error"]}
    return {"window_s": median(answer["seconds"])}


def _loop(answer: Mapping[str, Any]) -> dict[str, Any]:
    if "pairs" not in answer:
        return {"error": answer["error"]}
    return {
        clock: [pair[f"with_{clock}"] / pair[f"without_{clock}"] for pair in answer["pairs"]]
        for clock in ("s", "cpu_s")
    }


def _without_log(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "log"}
