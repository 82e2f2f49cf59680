"""The share of a work's energy that is the machine being on: paired, or not measured at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from greenkit.foundations import Domain, Provenance, Reading
from greenkit.foundations.provenance import ErrorSource
from greenkit.metering import Comparison, EnergyMeter, NotMeasuredError, Window, compare
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.idle import idle_share


def rounds(watts: Sequence[float], seconds: Sequence[float], random_j: float) -> list[Reading]:
    """One measured reading a round."""
    return [
        Reading(
            power_w * duration_s,
            duration_s,
            "nvml:0",
            "a card",
            Domain.GPU,
            Provenance.MEASURED,
            "counter",
            errors={ErrorSource(f"edge{i}", "nvml:0@a card"): random_j},
        )
        for i, (power_w, duration_s) in enumerate(zip(watts, seconds, strict=True))
    ]


def comparison(
    idle_w: Sequence[float],
    work_w: Sequence[float],
    *,
    work_s: Sequence[float] = (2.0, 3.0, 5.0),
    random_j: float = 0.0,
) -> Comparison:
    """Three rounds of a machine that sleeps for a second and works for some."""
    nothing: Any = None
    windows = {
        name: tuple(Window(name, {}, nothing, (), 0.0, end_s) for end_s in seconds)
        for name, seconds in (("idle", (1.0, 1.0, 1.0)), ("work", work_s))
    }
    readings = {
        "idle": tuple(rounds(idle_w, (1.0, 1.0, 1.0), random_j)),
        "work": tuple(rounds(work_w, work_s, random_j)),
    }
    return Comparison(windows, {"idle": 1, "work": 1}, readings)


def test_it_is_power_over_power_whatever_the_times() -> None:
    share = idle_share(comparison((60, 60, 60), (80, 80, 80)), "work")
    assert share.value == pytest.approx(0.75)
    assert share.low == pytest.approx(share.high)
    assert share.label == "idle power over power, measured, 3 paired rounds"


def test_a_drift_that_both_share_cancels() -> None:
    share = idle_share(comparison((60, 66, 72), (80, 88, 96)), "work")
    assert (share.low, share.high) == pytest.approx((0.75, 0.75))


def test_what_differs_between_rounds_is_its_interval() -> None:
    share = idle_share(comparison((60, 66, 72), (80, 80, 80)), "work")
    assert share.low < 0.7
    assert share.high > 0.97


def test_the_sensors_edges_widen_it() -> None:
    share = idle_share(comparison((60, 60, 60), (80, 80, 80), random_j=3.0), "work")
    assert share.high / share.value > 1.05


def test_an_estimate_does_not_know_what_waiting_draws() -> None:
    variants = {"idle": lambda: time.sleep(0.01), "work": lambda: sum(range(10_000))}
    with EnergyMeter([CpuEstimate()]) as meter:
        found = compare(variants, rounds=2, block_s=0.01, meter=meter, progress=False)
        with pytest.raises(NotMeasuredError, match="energy is only estimated"):
            idle_share(found, "work")
