"""What a lab generates for its learner: the setup report, the reveal and the budget card."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from greenkit.course.runs import Run
from greenkit.course.show import markdown_table
from greenkit.foundations import Provenance, Quantity, Reading
from greenkit.foundations.published import JOULES_PER_TOKEN
from greenkit.metering import EnergyMeter

WIDTH = 88  # what a page of the book shows
BAND = 2.0  # a result within a factor of two of a reference is in its band


def setup(device: Mapping[str, Any], meter: EnergyMeter) -> str:
    """The setup report in a few lines: the device, and how its energy is known.

    An estimate stands only where nothing is measured; `doctor` says why there is no more.
    """
    found = [sensor.info for sensor in meter.sensors]
    best = [info for info in found if info.provenance is not Provenance.ESTIMATED]
    lines = [f"device    {device['name']} ({device['memory_gb']:g} GB)"]
    for info in best or found:
        interval = f"×/÷ {info.factor:g}" if info.factor > 1 else f"± {2 * info.gain:.0%}"
        none = "" if best else "no sensor; "
        lines.append(f"energy    {none}{info.name}: {info.provenance.value}, {interval}")
    if not found:
        lines.append("energy    not measured: there is no sensor, and nothing to estimate from")
    return "\n".join(lines)


def doctor(device: Mapping[str, Any], meter: EnergyMeter) -> str:
    """The whole report: device, sensors with provenance, and why there are not more."""
    lines = [f"device    {device['name']} ({device['memory_gb']:g} GB)"]
    for sensor in meter.sensors:
        info = sensor.info
        interval = f"×/÷ {info.factor:g}" if info.factor > 1 else f"± {2 * info.gain:.0%}"
        lines.append(f"sensor    {info.name}: {info.provenance.value}, {interval}")
        lines.append(f"          {info.method}; sees {info.domain.value}")
    for reason in meter.reasons:
        lines += textwrap.wrap(f"missing   {reason}", WIDTH, subsequent_indent=" " * 10)
    return "\n".join(lines)


def table(
    predictions: Mapping[str, float],
    results: Mapping[str, Reading | Quantity | float],
    references: Sequence[Run],
) -> str:
    """Prediction, own result and reference runs side by side, with a verdict each."""
    rows = []
    for name, value in results.items():
        guess = predictions.get(name)
        told = f"{guess:g}" if guess else "none"
        rows.append((_words(name), "your prediction", told, _verdict(guess, value)))
        rows.append(("", "your result", _value(value), ""))
        for run in references:
            reference = run.record["results"].get(name)
            if reference is not None and reference != value:  # an exact value is the same anywhere
                rows.append(("", run.label, _recorded(reference), _band(value, reference, run)))
    return markdown_table(("what", "who", "value", "verdict"), rows)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: Reading | Quantity | float) -> float:
    if isinstance(value, Reading):
        return value.joules
    return value.value if isinstance(value, Quantity) else float(value)


def _value(value: Reading | Quantity | float) -> str:
    if isinstance(value, Reading | Quantity):
        return f"{value.text}, {value.provenance}"
    return f"{value:.3g}"


def _recorded(reference: Any) -> str:
    if isinstance(reference, dict) and "joules" in reference:
        reading = Reading.from_dict(reference)
        return f"{reading.text}, {reading.provenance.value}"
    if isinstance(reference, dict):
        label = str(reference["label"]).split(" (", 1)[0]
        unit = str(reference.get("unit", ""))
        shown = Quantity(
            reference["value"],
            reference["low"],
            reference["high"],
            unit,
            label,
            label,
            approximate=label.startswith("estimated"),
        )
        return f"{shown.text}, {label}"
    return f"{reference:.3g}"


def _verdict(guess: float | None, value: Reading | Quantity | float) -> str:
    if not guess:
        return "no prediction made"
    result = _number(value)
    if isinstance(value, Reading | Quantity) and value.low <= guess <= value.high:
        return "your prediction is inside the interval"
    times = guess / result
    side = "too high" if times > 1 else "too low"
    return f"{max(times, 1 / times):.1f}× {side}"


def _band(value: Reading | Quantity | float, reference: Any, run: Run) -> str:
    theirs = reference
    if isinstance(reference, dict):
        theirs = reference["joules"] if "joules" in reference else reference["value"]
    times = _number(value) / theirs if theirs else math.inf
    if 1 / BAND <= times <= BAND:
        return f"you are inside the band of {run.device}"
    return f"you are at {times:.2g}× of {run.device}"


def card(lab: str, references: Sequence[Run], quick: Sequence[Run] = ()) -> str:
    """The budget card: what a learner's run takes, then a recording of every variant.

    Never typed. `quick` are runs as a learner makes them, `references` full ones.
    """
    if not references and not quick:
        return f"**Budget of {lab}.** Not recorded yet on any device."
    rows = []
    for run in (*quick, *references):
        energy = " + ".join(_wh(entry) for entry in run.record["footprint"]) or "not measured"
        minutes, memory_gb = run.record["seconds"] / 60, run.record["memory_mb"] / 1000
        what = "your run" if run.record["size"] == "quick" else "every variant"
        time = f"{minutes:.1f} min, {memory_gb:.1f} GB"
        rows.append((what, time, energy, f"{run.device}, {run.date}"))
    if not any(run.kind == "gpu" for run in references):
        rows.append(("every variant", "not recorded yet", "", "a GPU"))
    header = ("what runs", "time and memory", "energy", "recorded on")
    fetched_mb = (*quick, *references)[0].record["fetched_mb"]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Model and text, {fetched_mb:.0f} MB, are fetched once; all labs share them."
    )


def _wh(entry: Mapping[str, Any]) -> str:
    reading = Reading.from_dict(entry)
    return f"{reading.wh().text}, {reading.provenance.value}"


def published() -> str:
    """Published J/token of large models as a table."""
    rows = [(p.what, p.text, p.boundary, p.citation) for p in JOULES_PER_TOKEN]
    return markdown_table(("published", "energy", "boundary", "source"), rows)
