"""How far windows are off, and whether their interval holds the truth: against closed forms."""

from __future__ import annotations

import pytest
import virtual_clock as virtual

from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import steps

UNTIL_S = 120.0
COUNT = 300
RMS_LIMITS = {5.0: 0.005, 1.0: 0.02, 0.5: 0.05, 0.1: 0.35}

WAVES = pytest.mark.parametrize("wave", virtual.WAVES.values(), ids=virtual.WAVES)
ALIGNED = pytest.mark.parametrize("aligned", ["random", "start", "both"])


def errors(curve, wave, length_s):
    spans = virtual.windows(wave, length_s, UNTIL_S, aligned="random", count=1000)
    return [
        curve.energy(start, end) / (wave.energy(end) - wave.energy(start)) - 1
        for start, end in spans
    ]


def missed(curve, wave, aligned):
    """Window lengths (s) at which fewer than 95 % of the intervals hold the truth."""
    bad = {}
    for length_s in virtual.LENGTHS_S:
        held = []
        for start, end in virtual.windows(wave, length_s, UNTIL_S, aligned=aligned, count=COUNT):
            reading, truth = curve.reading(start, end), wave.energy(end) - wave.energy(start)
            assert reading.systematic == 0
            held.append(reading.low - 1e-6 <= truth <= reading.high + 1e-6)
        if held and sum(held) < 0.95 * len(held):
            bad[length_s] = sum(held) / len(held)
    return bad


@WAVES
@pytest.mark.parametrize("poll_s", [0.02, None], ids=["every 20 ms", "as the sampler polls"])
def test_windows_on_a_counter_of_100_ms_are_off_by_no_more_than_stated(wave, poll_s):
    curve = virtual.watch(virtual.sensor(wave), UNTIL_S, poll_s=poll_s)
    for length_s, limit in RMS_LIMITS.items():
        assert virtual.rms(errors(curve, wave, length_s)) <= limit, f"at {length_s} s"


@pytest.mark.parametrize("name", ["constant", "ramp", "square", "plateaus", "stairs"])
def test_ticks_that_are_caught_and_shaped_reach_the_moonshot(name):
    wave = virtual.WAVES[name]
    curve = virtual.watch(virtual.sensor(wave), UNTIL_S)
    for length_s, limit in {5.0: 0.003, 1.0: 0.01, 0.5: 0.03, 0.1: 0.15}.items():
        assert virtual.rms(errors(curve, wave, length_s)) <= limit, f"at {length_s} s"


@WAVES
@ALIGNED
def test_interval_of_a_ticking_counter_holds_the_truth(wave, aligned):
    assert missed(virtual.watch(virtual.sensor(wave), UNTIL_S), wave, aligned) == {}


@WAVES
@pytest.mark.parametrize("aligned", ["random", "start"])
def test_interval_holds_the_truth_when_polled_every_20_ms(wave, aligned):
    curve = virtual.watch(virtual.sensor(wave), UNTIL_S, poll_s=0.02)
    assert missed(curve, wave, aligned) == {}


@WAVES
@ALIGNED
def test_interval_holds_the_truth_when_polls_come_up_to_300_ms_late(wave, aligned):
    assert missed(virtual.watch(virtual.sensor(wave), UNTIL_S, late=0.05), wave, aligned) == {}


@WAVES
@ALIGNED
def test_interval_of_a_counter_that_is_always_fresh_holds_the_truth(wave, aligned):
    card = virtual.sensor(wave, Kind.COUNTER, tick_s=0.0)
    assert missed(virtual.watch(card, UNTIL_S), wave, aligned) == {}


@WAVES
@ALIGNED
def test_interval_of_sampled_power_holds_the_truth(wave, aligned):
    card = virtual.sensor(wave, Kind.POWER, tick_s=0.0)
    assert missed(virtual.watch(card, UNTIL_S), wave, aligned) == {}


@WAVES
@ALIGNED
def test_interval_of_power_averaged_over_a_second_holds_the_truth(wave, aligned):
    card = virtual.sensor(wave, Kind.POWER, tick_s=0.02, average_s=1.0, poll_s=0.1)
    assert missed(virtual.watch(card, UNTIL_S), wave, aligned) == {}


def test_interval_holds_the_truth_over_plateaus_without_any_power():
    wave = steps((0.7, 0.0), (0.4, 300.0), (0.3, 100.0))
    assert missed(virtual.watch(virtual.sensor(wave), UNTIL_S), wave, "random") == {}


def test_interval_is_not_idle():
    """On a steady load it is narrow enough to be of use: within 5 % at one second."""
    wave = virtual.WAVES["constant"]
    curve = virtual.watch(virtual.sensor(wave), UNTIL_S)
    reading = curve.reading(10.0, 11.0)
    assert reading.high - reading.low < 0.1 * reading.joules
