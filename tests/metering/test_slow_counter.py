"""A counter that takes 5 ms of a core a read: what windows on it are worth, and what it costs."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
import virtual_clock as virtual

from greenkit.foundations import Provenance
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import Allowance
from greenkit.metering.replay import trace_from_dict, trace_to_dict
from greenkit.metering.sensor import SensorError
from greenkit.metering.simulated import constant
from greenkit.metering.slow_counter import SlowCounter

UNTIL_S = 120.0
RMS_LIMITS = {5.0: 0.01, 1.0: 0.03, 0.5: 0.08}
PHASES_S = (0.005, 0.031, 0.066)

WAVES = pytest.mark.parametrize("name", virtual.WAVES)


def errors(curve, wave, length_s):
    return [
        curve.energy(start, end) / (wave.energy(end) - wave.energy(start)) - 1
        for start, end in virtual.windows(wave, length_s, UNTIL_S, aligned="random", count=500)
    ]


@pytest.mark.parametrize("name", [name for name in virtual.WAVES if name != "bursts"])
def test_windows_are_off_by_no_more_than_1_3_and_8_percent(name):
    wave, found = virtual.WAVES[name], {length_s: [] for length_s in RMS_LIMITS}
    for seed, phase_s in enumerate(PHASES_S):
        curve, _, _ = virtual.watch_slow(wave, UNTIL_S, seed=seed, phase_s=phase_s)
        for length_s, values in found.items():
            values += errors(curve, wave, length_s)
    for length_s, limit in RMS_LIMITS.items():
        assert virtual.rms(found[length_s]) <= limit, f"at {length_s} s"


def test_bursts_that_most_samples_miss_are_off_by_no_more_than_twice_that():
    wave = virtual.WAVES["bursts"]
    curve, _, _ = virtual.watch_slow(wave, UNTIL_S)
    for length_s, limit in RMS_LIMITS.items():
        assert virtual.rms(errors(curve, wave, length_s)) <= 2 * limit, f"at {length_s} s"


@WAVES
@pytest.mark.parametrize("aligned", ["random", "start", "both"])
def test_the_interval_holds_the_truth(name, aligned):
    wave = virtual.WAVES[name]
    curve, _, _ = virtual.watch_slow(wave, UNTIL_S, seed=1, phase_s=0.058)
    missed = {}
    for length_s in virtual.LENGTHS_S:
        held = []
        for start, end in virtual.windows(wave, length_s, UNTIL_S, aligned=aligned, count=300):
            reading, truth = curve.reading(start, end), wave.energy(end) - wave.energy(start)
            assert reading.systematic == 0
            held.append(reading.low - 1e-6 <= truth <= reading.high + 1e-6)
        if held and sum(held) < 0.95 * len(held):
            missed[length_s] = sum(held) / len(held)
    assert missed == {}


@pytest.mark.parametrize(
    ("tick_s", "sample_s"), [(0.09996, 0.09996), (0.101, 0.101), (0.1, 0.02), (0.101, 0.0997)]
)
def test_the_interval_holds_whatever_the_rates(tick_s, sample_s):
    """Cards differ: 101 ms on an A100, 99.96 ms on an H100; and rates that differ."""
    wave = virtual.WAVES["square"]
    curve, _, cost = virtual.watch_slow(wave, UNTIL_S, tick_s=tick_s, sample_s=sample_s)
    held = []
    for start, end in virtual.windows(wave, 1.0, UNTIL_S, aligned="random", count=400):
        reading, truth = curve.reading(start, end), wave.energy(end) - wave.energy(start)
        held.append(reading.low <= truth <= reading.high)
    assert sum(held) >= 0.95 * len(held)
    assert cost <= 0.0115


def test_the_interval_of_a_steady_load_is_narrow():
    curve, _, _ = virtual.watch_slow(constant(200), UNTIL_S)
    reading = curve.reading(20.0, 21.0)
    assert reading.high - reading.low < 0.1 * reading.joules


@WAVES
def test_it_costs_one_percent_of_a_core_from_the_start_on(name):
    _, _, cost = virtual.watch_slow(virtual.WAVES[name], UNTIL_S)
    assert 0.009 <= cost <= 0.0115  # 8 s' allowance is spent at once, to find the ticks


def test_windows_add_up():
    curve, _, _ = virtual.watch_slow(virtual.WAVES["square"], 30.0)
    parts = [curve.energy(10 + 0.3 * i, 10 + 0.3 * (i + 1)) for i in range(20)]
    assert sum(parts) == pytest.approx(curve.energy(10, 16), rel=1e-9)


def test_a_curve_only_rises():
    curve, _, _ = virtual.watch_slow(virtual.WAVES["bursts"], 60.0)
    assert all(b > a for a, b in pairwise(curve.times))
    assert all(b >= a for a, b in pairwise(curve.joules))


def test_a_recorded_part_keeps_what_is_uncertain():
    curve, _, _ = virtual.watch_slow(virtual.WAVES["square"], 30.0)
    record = trace_to_dict(curve, {"work": [(12.0, 13.0)]}, origin_s=10.0, end_s=20.0)
    replayed = trace_from_dict(record, recorded_on="a card", date="2026-11-27").between(2.0, 3.0)
    direct = curve.reading(12.0, 13.0)
    assert replayed.provenance is Provenance.SIMULATED
    assert replayed.joules == pytest.approx(direct.joules, rel=1e-4)
    assert replayed.random == pytest.approx(direct.random, rel=1e-3)


# -- what goes wrong -----------------------------------------------------------------------------


def drive(slow, wave, start_s, until_s, *, shown_j=lambda joules: joules):
    """Read as the sampler does, the counter through `shown_j`."""
    card = virtual.sensor(wave)
    virtual.drive_slow(
        slow,
        start_s,
        until_s,
        show=lambda time_s: shown_j(card.read_at(time_s)),
        look=lambda time_s: virtual.mean_power(wave, time_s, 0.1, 0.031),
    )


@pytest.fixture
def slow():
    info = dataclasses.replace(virtual.sensor(constant(200)).info, stall_s=1.0)
    return SlowCounter(EnergyCurve(info), Allowance(0.01, 0.0))


def test_what_lies_around_a_failed_read_is_not_measured(slow):
    drive(slow, constant(200), 0.01, 10.0)
    slow.failed(10.0, "nvml:0 fell off the bus")
    assert slow.curve.trouble is not None
    drive(slow, constant(200), 12.0, 25.0)
    assert slow.curve.trouble is None
    with pytest.raises(SensorError, match="fell off the bus during this window"):
        slow.curve.reading(8.0, 14.0)
    assert slow.curve.reading(16.0, 20.0).joules == pytest.approx(800, rel=0.02)


def test_a_counter_that_goes_backwards_is_a_gap(slow):
    drive(slow, constant(200), 0.01, 10.0)
    drive(slow, constant(200), 10.0, 25.0, shown_j=lambda joules: joules - 1900)
    with pytest.raises(SensorError, match="went backwards during this window"):
        slow.curve.reading(8.0, 14.0)
    assert slow.curve.reading(15.0, 20.0).joules == pytest.approx(1000, rel=0.02)


def test_a_counter_that_stands_still_is_no_idle_card(slow):
    drive(slow, constant(200), 0.01, 10.0)
    drive(slow, constant(200), 10.0, 15.0, shown_j=lambda joules: min(joules, 2000.0))
    assert "stands still" in slow.curve.trouble[1]
    with pytest.raises(SensorError, match="stands still"):
        slow.curve.reading(8.0, 12.0)


def test_a_card_that_draws_nothing_for_a_while_is_metered():
    wave = virtual.steps((0.7, 0.0), (0.4, 300.0), (0.3, 100.0))
    curve, _, _ = virtual.watch_slow(wave, 60.0)
    truth = wave.energy(40.0) - wave.energy(20.0)
    assert curve.energy(20.0, 40.0) == pytest.approx(truth, rel=0.02)


def test_a_card_that_stops_telling_its_power_is_not_asked_without_end(slow):
    drive(slow, constant(200), 0.01, 10.0)
    card, asked = virtual.sensor(constant(200)), []
    virtual.drive_slow(slow, 10.0, 15.0, show=card.read_at, look=asked.append)
    assert len(asked) <= 5.0 / 0.1 + 2
    assert slow.curve.settled_s > 13.0


def test_whoever_hurries_gets_a_reading_within_three_ticks(slow):
    drive(slow, constant(200), 0.01, 10.0)
    slow.allowance.spend(10.0, 1.0)  # nothing is left for a hundred seconds
    slow.hurry(10.0)
    drive(slow, constant(200), 10.0, 10.5)
    assert slow.curve.settled_s >= 10.0
    assert math.isfinite(slow.curve.reading(9.0, 10.0).joules)
