"""Cards of a lab in HTML: a claim and what became of it, the machine, and what the lab takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from greenkit.course.runs import Run
from greenkit.foundations import Provenance, Reading
from greenkit.metering import EnergyMeter, SensorInfo
from greenkit.plot.page import badge, badged

STATES = {
    "holds": "holds",
    "near": "below our margin",
    "open": "not separable here",
    "unproven": "not asserted here",
}


def claim(text: str, state: str, why: str = "") -> str:
    """A claim, what became of it (one of `STATES`), and why where it was not asserted."""
    note = f' <span class="gk-note">{badged(escape(why))}</span>' if why else ""
    return (
        f'<div class="gk-claim gk-{state}"><span class="gk-state">{STATES[state]}</span> '
        f"{escape(text)}{note}</div>"
    )


def result(text: str) -> str:
    """A result that a section of a chapter rests on, and that its cell asserts."""
    return (
        f'<div class="gk-claim gk-holds gk-key"><span class="gk-state">Key result, checked</span> '
        f"{badged(escape(text))}</div>"
    )


def counted(states: Sequence[str]) -> str:
    """How many claims of a lab hold, and what became of the others, in a few words."""
    found = Counter(states)
    return ", ".join(f"{found[state]} {words}" for state, words in STATES.items() if found[state])


def spread(info: SensorInfo) -> str:
    """How far off a sensor may be, in a few characters: a factor, or ± two uncertainties."""
    return f"×/÷ {info.factor:g}" if info.factor > 1 else f"± {2 * info.gain:.0%}"


def machine(device: Mapping[str, Any], meter: EnergyMeter, details: str) -> str:
    """The device and how its energy is known in one line; all that was looked for in a fold."""
    found = [sensor.info for sensor in meter.sensors]
    best = [info for info in found if info.provenance is not Provenance.ESTIMATED]
    ways = []
    for info in best or found:
        name = f"<small>({escape(info.name)})</small>"
        ways.append(f"{badge(info.provenance.value)} {spread(info)} {name}")
    if not found:
        ways = ["not measured: there is no sensor, and nothing to estimate from"]
    elif not best:
        ways = ["no sensor: " + ", ".join(ways)]
    return (
        f'<div class="gk-card gk-machine"><p><strong>{escape(str(device["name"]))}</strong>, '
        f"{device['memory_gb']:g} GB · energy: {', '.join(ways)}</p>"
        f"<details><summary>What was found, and what is missing</summary>"
        f"<pre>{escape(details)}</pre></details></div>"
    )


def budget(references: Sequence[Run], quick: Sequence[Run]) -> tuple[str, str]:
    """What a learner's run takes, then a recording of every variant, by device: HTML and text."""
    rows = []
    for run in (*quick, *references):
        minutes, memory_gb = run.record["seconds"] / 60, run.record["memory_mb"] / 1000
        what = "Your run" if run.record["size"] == "quick" else "Every variant"
        energy = " + ".join(map(_wh, run.record["footprint"])) or "not measured"
        takes = f"{minutes:.1f} min, {memory_gb:.1f} GB, {energy}"
        rows.append((what, f"{run.device}, {run.date}", takes))
    if not any(run.kind == "gpu" for run in references):
        rows.append(("Every variant", "a GPU", "not recorded yet"))
    runs = (*quick, *references)
    fetched = f", {runs[0].record['fetched_mb']:.0f} MB," if runs else ""
    note = f"Model and text{fetched} are fetched once; all labs share them."
    entries = "".join(
        f"<div><dt>{what} <small>{escape(where)}</small></dt><dd>{badged(escape(takes))}</dd></div>"
        for what, where, takes in rows
    )
    page = (
        f'<div class="gk-card gk-budget"><p class="gk-card-title">What this lab takes</p>'
        f"<dl>{entries}</dl><p>{note}</p></div>"
    )
    return page, "\n".join([*(f"{what} ({where}): {takes}" for what, where, takes in rows), note])


def _wh(entry: Mapping[str, Any]) -> str:
    reading = Reading.from_dict(entry)
    return f"{reading.wh().text} {reading.provenance.value}"
