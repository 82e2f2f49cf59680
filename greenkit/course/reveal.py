"""What a lab tells its learner in words: the machine's report, the reveal, published values."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from greenkit.course.cards import spread
from greenkit.course.runs import Run
from greenkit.course.show import markdown_table, number
from greenkit.foundations import Quantity, Reading
from greenkit.foundations.published import JOULES_PER_TOKEN
from greenkit.metering import EnergyMeter

WIDTH = 88  # what a page of the book shows
UNITS = {"joules per": "J per", "gwh": "(GWh)", "percent": "(%)", "gpt3": "GPT-3", "kl": "KL"}
BAND = 2.0  # a result within a factor of two of a reference is in its band


def doctor(device: Mapping[str, Any], meter: EnergyMeter) -> str:
    """The whole report: device, sensors with provenance, and why there are not more."""
    lines = [f"device    {device['name']} ({device['memory_gb']:g} GB)"]
    for sensor in meter.sensors:
        info = sensor.info
        lines.append(f"sensor    {info.name}: {info.provenance.value}, {spread(info)}")
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
        told = number(guess) if guess else "none"
        rows.append((_words(name), "your prediction", told, _verdict(guess, value)))
        rows.append(("", "your result", _value(value), ""))
        for run in references:
            reference = run.record["results"].get(name)
            if reference is not None and reference != value:  # an exact value is the same anywhere
                rows.append(("", run.label, _recorded(reference), _band(value, reference, run)))
    return markdown_table(("what", "who", "value", "verdict"), rows)


def _words(name: str) -> str:
    """The name of a result in words, with its unit as one writes it."""
    words = name.replace("_", " ")
    for told, written in UNITS.items():
        words = re.sub(rf"\b{told}\b", written, words)
    return words


def _number(value: Reading | Quantity | float) -> float:
    if isinstance(value, Reading):
        return value.joules
    return value.value if isinstance(value, Quantity) else float(value)


def _value(value: Reading | Quantity | float) -> str:
    if isinstance(value, Reading | Quantity):
        return f"{value.text}, {value.provenance}"
    return number(value)


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
    return number(reference)


def _verdict(guess: float | None, value: Reading | Quantity | float) -> str:
    if not guess:
        return "no prediction made"
    result = _number(value)
    if isinstance(value, Reading | Quantity) and value.low <= guess <= value.high:
        return "your prediction is inside the interval"
    times = guess / result
    side = "too high" if times > 1 else "too low"
    return f"{number(max(times, 1 / times), 2)}× {side}"


def _band(value: Reading | Quantity | float, reference: Any, run: Run) -> str:
    theirs = reference
    if isinstance(reference, dict):
        theirs = reference["joules"] if "joules" in reference else reference["value"]
    times = _number(value) / theirs if theirs else math.inf
    if 1 / BAND <= times <= BAND:
        return f"you are inside the band of {run.device}"
    return f"you are at {number(times, 2)}× of {run.device}"


def published() -> str:
    """Published J/token of large models as a table."""
    rows = [(p.what, p.text, p.boundary, p.citation) for p in JOULES_PER_TOKEN]
    return markdown_table(("published", "energy", "boundary", "source"), rows)
