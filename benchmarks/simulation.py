"""Large samples on a virtual clock: what keeping a counter's ticks gains over its differences."""

from __future__ import annotations

import random
from statistics import fmean
from typing import Any

from benchmarks.summaries import summary
from greenkit.metering.simulated import SimulatedSensor, Wave, constant, ramp, sample, square, steps

POLL_S = 0.02
LATE_S = 0.001  # a poll comes up to this much late, so that polls wander through the tick
LENGTHS_S = (5.0, 1.0, 0.5, 0.1, 0.05)
VARIED = 0.1  # windows are this much longer or shorter, or whole ticks would cancel at both edges
WORKS, REST_S = 25, 0.283
SETTLE_S = 1.0

WAVES = {
    "constant 200 W": constant(200),
    "square 60/300 W, 0.37 s": square(60, 300, period_s=0.37),
    "20 ms bursts 60/300 W, 0.43 s": square(60, 300, period_s=0.43, duty=0.02 / 0.43),
    "ramp 60-300 W, 0.9 s": ramp(60, 300, period_s=0.9),
}


Spans = list[tuple[float, float]]  # windows as (start s, end s)


def simulate(count: int) -> list[dict[str, Any]]:
    """One row per wave form, alignment and length of window, each from `count` windows.

    `differences` is the counter read at both edges, as most tools do; `curve` is greenkit's. The
    sensor has no systematic error here, so `covered` is the share of windows whose random part
    alone (or whose bounds, below two ticks) holds the truth.
    """
    rows = []
    for length in LENGTHS_S:
        for name, wave in WAVES.items():
            spans = _random_spans(length, count)
            rows.append({"wave": name, "windows": "random", **_row(wave, spans, length)})
        wave, spans = _steps_and_spans(length, count)
        row = _row(wave, spans, length)
        rows.append({"wave": "one step up, one down, 60/300 W", "windows": "aligned", **row})
    return rows


def _random_spans(length: float, count: int) -> Spans:
    draw = random.Random(1)
    starts = [SETTLE_S + draw.uniform(0, count * 0.7) for _ in range(count)]
    return [(start, start + length * draw.uniform(1 - VARIED, 1 + VARIED)) for start in starts]


def _steps_and_spans(length: float, count: int) -> tuple[Wave, Spans]:
    """Work at 300 W with rests at 60 W between, and the windows that hold the work exactly."""
    draw = random.Random(3)
    works_s = [length * draw.uniform(1 - VARIED, 1 + VARIED) for _ in range(WORKS)]
    spans, time_s = [], 0.0
    for i in range(count):
        work_s = works_s[i % WORKS]
        if time_s > SETTLE_S:
            spans.append((time_s, time_s + work_s))
        time_s += work_s + REST_S
    pieces = [piece for work_s in works_s for piece in ((work_s, 300.0), (REST_S, 60.0))]
    return steps(*pieces), spans


def _row(wave: Wave, spans: Spans, length: float) -> dict[str, Any]:
    sensor = SimulatedSensor(wave, clock=lambda: 0.0)
    curve = sample(sensor, _polls(max(end for _, end in spans) + SETTLE_S))
    differences, readings, widths, covered = [], [], [], 0
    for start, end in spans:
        truth = sensor.truth(start, end)
        differences.append((sensor.read_at(end) - sensor.read_at(start)) / truth)
        reading = curve.reading(start, end)
        readings.append(reading.joules / truth)
        widths.append((reading.high - reading.low) / 2 / truth)
        covered += reading.low <= truth <= reading.high
    return {
        "length_s": length,
        "differences": summary(differences),
        "curve": summary(readings),
        "covered": covered / len(spans),
        "half_width": fmean(widths),
    }


def _polls(duration_s: float) -> list[float]:
    draw = random.Random(2)
    times_s = [0.0]
    while times_s[-1] < duration_s:
        times_s.append(times_s[-1] + POLL_S + draw.uniform(0, LATE_S))
    return times_s
