"""Traces to draw windows on: a recorded card's raw ticks, or a simulated card that says so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from greenkit.course.runs import Run
from greenkit.foundations import Domain, Provenance
from greenkit.metering import EnergyCurve, Kind, SensorInfo, Trace
from greenkit.metering.replay import simulated_trace
from greenkit.metering.simulated import SimulatedSensor, steps, watch

IDLE, PREFILL, DECODE = (2.0, 75.0), (0.08, 420.0), (3.0, 310.0)  # s, W


def gpu_trace(runs: Sequence[Run]) -> Trace:
    """The counter trace of the first recorded GPU run; a simulated card's where there is none."""
    for run in runs:
        for trace in run.traces() if run.kind == "gpu" else ():
            if trace.curve.info.kind is Kind.TICKS and {"prefill", "decode"} <= trace.marks.keys():
                return trace
    return _simulated_card()


def _simulated_card() -> Trace:
    sensor = SimulatedSensor(steps(IDLE, PREFILL, DECODE, IDLE), tick_s=0.1)
    curve = watch(sensor, seconds=7.0)
    start = IDLE[0]
    middle, end = start + PREFILL[0], start + PREFILL[0] + DECODE[0]
    marks = {
        "idle": ((0.5, start - 0.2),),
        "prefill": ((start, middle),),
        "decode": ((middle, end),),
    }
    return simulated_trace(curve, marks)


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
