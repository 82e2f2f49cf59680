"""Where the ticks to draw windows on come from: the own card, a recorded run, the shipped card."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from greenkit.course.runs import Run
from greenkit.course.traces import (
    curve_from_power,
    gpu_trace,
    recorded_card,
    recorded_read_costs_ms,
)
from greenkit.foundations import Provenance
from greenkit.metering import EnergyMeter, Kind
from greenkit.metering.replay import trace_to_dict
from greenkit.metering.simulated import SimulatedSensor, constant


def card(provenance: Provenance = Provenance.MEASURED, kind: Kind = Kind.TICKS) -> SimulatedSensor:
    sensor = SimulatedSensor(constant(200), kind=kind, tick_s=0.02, poll_s=0.005)
    sensor.info = replace(sensor.info, provenance=provenance, device="a card")
    return sensor


def phases_on(sensor: SimulatedSensor, *names: str) -> EnergyMeter:
    with EnergyMeter([sensor]) as meter:
        for name in names:
            with meter.window(name):
                time.sleep(0.1)
    return meter


def run_of(trace: Any, kind: str = "gpu") -> Run:
    curve = trace_to_dict(trace.curve, trace.marks, origin_s=0.0)
    curve["sensor"] = "nvml:7"
    device = {"name": "another card", "kind": kind}
    return Run({"device": device, "date": "2026-11-27", "traces": [curve]})


def test_the_shipped_card_is_replayed_and_names_its_device_and_date() -> None:
    trace = recorded_card()
    assert trace.label == "recorded on NVIDIA H100 80GB HBM3, 2026-11-26"
    reading = trace.window("decode")
    assert reading.provenance is Provenance.REPLAYED
    assert reading.note.startswith("measured on NVIDIA H100 80GB HBM3, 2026-11-26")


def test_the_shipped_card_ticks_every_tenth_of_a_second_and_hardly_notices_one_text() -> None:
    trace = recorded_card()
    assert trace.curve.tick_s == pytest.approx(0.1, rel=0.01)
    idle_w, decode_w = trace.window("idle").power_w, trace.window("decode").power_w
    assert 1 < decode_w / idle_w < 1.05
    assert not trace.window("prefill").resolved


def test_one_read_of_that_counter_cost_fifty_times_one_of_its_power() -> None:
    costs = recorded_read_costs_ms()
    counter, power = costs["energy counter"], costs["instantaneous power"]
    assert all(counter[kind] > 50 * power[kind] for kind in ("wall", "cpu"))


def test_the_own_cards_ticks_win_over_recorded_ones() -> None:
    meter = phases_on(card(), "idle", "prefill", "decode")
    trace = gpu_trace([run_of(recorded_card())], meter)
    assert trace.label == "your own a card"
    assert trace.window("decode").provenance is Provenance.MEASURED
    assert trace.window("decode").power_w == pytest.approx(200, rel=0.1)


@pytest.mark.parametrize(
    ("sensor", "names"),
    [
        (card(), ("idle", "decode")),
        (card(kind=Kind.POWER), ("idle", "prefill", "decode")),
        (card(Provenance.SIMULATED), ("idle", "prefill", "decode")),
    ],
    ids=["a phase was not marked", "no counter", "not a real card"],
)
def test_without_own_ticks_a_recorded_gpu_is_drawn_on(
    sensor: SimulatedSensor, names: tuple[str, ...]
) -> None:
    trace = gpu_trace([run_of(recorded_card())], phases_on(sensor, *names))
    assert trace.label == "recorded on another card, 2026-11-27"


def test_without_a_recorded_gpu_the_shipped_card_is_drawn_on() -> None:
    runs = [run_of(recorded_card(), kind="cpu")]
    assert gpu_trace(runs).label == recorded_card().label


def test_power_samples_become_their_trapezoid_sum() -> None:
    curve = curve_from_power([0, 1, 3], [0, 100, 100])
    assert curve.energy(0, 3) == pytest.approx(250)
    with pytest.raises(ValueError, match="same length"):
        curve_from_power([0, 1], [0])
