"""Traces to draw windows on: your own card's ticks, or those of a recorded card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

from greenkit.course.runs import Run
from greenkit.foundations import Domain, Provenance
from greenkit.metering import EnergyCurve, EnergyMeter, Kind, SensorInfo, Trace
from greenkit.metering.replay import trace_from_dict

PHASES = {"idle", "prefill", "decode"}  # what a trace must mark to be drawn on
TICKS = "h100_ticks.json"  # lab 01 on an H100: idle, a page read, 16 and 32 tokens written


def gpu_trace(runs: Sequence[Run], meter: EnergyMeter | None = None) -> Trace:
    """The ticks of a GPU's counter with idle, prefill and decode marked, to draw windows on.

    Those of `meter`, where it reads such a counter and has windows of these names; else of the
    first GPU among the reference runs; else of the card that ships with the course.
    """
    recorded = (trace for run in runs if run.kind == "gpu" for trace in run.traces())
    own = [] if meter is None else own_traces(meter)
    for trace in (*own, *recorded):
        if trace.curve.info.kind is Kind.TICKS and trace.marks.keys() >= PHASES:
            return trace
    return recorded_card()


def own_traces(meter: EnergyMeter) -> list[Trace]:
    """What the GPUs of this machine have said so far, with the windows of `meter` as marks."""
    marks: dict[str, list[tuple[float, float]]] = {}
    for window in meter.windows:
        marks.setdefault(window.name, []).append((window.start_s, window.end_s))
    if not marks:
        return []
    meter.readings(meter.total.start_s, max(end for spans in marks.values() for _, end in spans))
    return [
        Trace(curve, marks, f"your own {curve.info.device}", "")
        for curve in meter.curves
        if curve.info.domain is Domain.GPU and curve.info.provenance is Provenance.MEASURED
    ]


def recorded_card() -> Trace:
    """The raw ticks of an NVIDIA H100's counter while it idled, read and wrote, recorded once."""
    record = _recording()
    return trace_from_dict(record["trace"], recorded_on=record["device"], date=record["date"])


def recorded_read_costs_ms() -> dict[str, dict[str, float]]:
    """What one read cost on that card: milliseconds ("wall") and CPU time ("cpu") by sensor.

    Medians of reads 20 ms apart, through the driver of a virtual machine.
    """
    costs: dict[str, dict[str, float]] = _recording()["reads_ms"]
    return costs


def _recording() -> dict[str, Any]:
    text = files("greenkit.course").joinpath(TICKS).read_text(encoding="utf-8")
    recording: dict[str, Any] = json.loads(text)
    return recording


def curve_from_power(seconds: Sequence[float], watts: Sequence[float]) -> EnergyCurve:
    """The energy curve of a few power samples, e.g. to check a sum done by hand.

    Raises ValueError where the two lists differ in length or hold fewer than two samples.
    """
    if len(seconds) != len(watts) or len(seconds) < 2:
        raise ValueError(
            f"expected two lists of the same length, at least 2; got {len(seconds)}, {len(watts)}"
        )
    info = SensorInfo(
        name="samples",
        device="by hand",
        domain=Domain.GPU,
        provenance=Provenance.SIMULATED,
        method="sampled",
        kind=Kind.POWER,
        poll_s=max(b - a for a, b in pairwise(seconds)),
    )
    curve = EnergyCurve(info)
    for time_s, power_w in zip(seconds, watts, strict=True):
        curve.push(float(time_s), float(power_w))
    return curve
