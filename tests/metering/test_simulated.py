"""Simulated sensors: closed forms that hold, and defects that are as stated."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenkit.foundations import Provenance
from greenkit.metering import peaks, simulated
from greenkit.metering.sensor import Kind, SensorError
from greenkit.metering.simulated import (
    SimulatedSensor,
    Wave,
    constant,
    ramp,
    sample,
    square,
    steps,
    watch,
)

pieces = st.tuples(st.floats(0.05, 1.0), st.floats(0, 500), st.floats(0, 500))
waves = st.lists(pieces, min_size=1, max_size=4).map(lambda found: Wave(tuple(found)))


@pytest.mark.parametrize("module", [simulated, peaks])
def test_examples_in_the_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("wave", "joules"),
    [
        (constant(200), 2000),
        (square(60, 300, period_s=2, duty=0.25), 10 * (0.25 * 300 + 0.75 * 60)),
        (ramp(0, 100, period_s=5), 10 * 50),
        (steps((1, 100), (3, 20)), 2 * (100 + 60) + 100 + 20),
    ],
)
def test_energy_of_ten_seconds(wave, joules):
    assert wave.energy(10) == pytest.approx(joules)


@given(waves, st.floats(0, 5), st.floats(0, 5))
def test_energy_is_the_integral_of_power(wave, start, length):
    n = 4000
    middles = (start + (i + 0.5) * length / n for i in range(n))
    summed = sum(wave.power(t) for t in middles) * length / n
    jump = 500 * length / n * (2 + 8 * length / wave.period_s)  # each step may be missed by half
    exact = wave.energy(start + length) - wave.energy(start)
    assert exact == pytest.approx(summed, abs=jump + 1e-6)


@given(waves, st.floats(0, 3), st.integers(1, 5))
def test_a_wave_repeats(wave, time_s, times):
    later = time_s + times * wave.period_s
    more = wave.energy(later) - wave.energy(times * wave.period_s)
    assert more == pytest.approx(wave.energy(time_s), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("wrong", [(), ((0, 1, 1),), ((1, -1, 1),), ((1, 1, -1),)])
def test_a_wave_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="a wave needs pieces"):
        Wave(wrong)


@pytest.mark.parametrize("duty", [0, 1, -0.5])
def test_a_duty_outside_of_0_to_1_is_refused(duty):
    with pytest.raises(ValueError, match="between 0 and 1"):
        square(1, 2, period_s=1, duty=duty)


def card(wave=None, **settings):
    return SimulatedSensor(wave or ramp(0, 100, period_s=100), clock=lambda: 0.0, **settings)


def test_a_counter_shows_the_energy_of_its_last_tick():
    sensor = card(tick_s=0.1)
    assert sensor.read_at(3.19) == sensor.read_at(3.11) == pytest.approx(sensor.wave.energy(3.1))


def test_power_may_be_that_of_the_instant_or_a_mean():
    instant, mean = (card(kind=Kind.POWER, tick_s=0.0, average_s=w) for w in (0.0, 2.0))
    assert instant.read_at(50) == pytest.approx(50)
    assert mean.read_at(50) == pytest.approx(49)


def test_gain_makes_it_read_wrong_and_the_meter_is_told():
    sensor = card(tick_s=0.0, gain=0.9)
    assert sensor.read_at(10) == pytest.approx(0.9 * sensor.truth(0, 10))
    assert sensor.info.gain == pytest.approx(0.1)


def test_a_dead_sensor_raises_and_its_curve_refuses():
    sensor = card(constant(100), dies_at_s=3.0)
    with pytest.raises(SensorError, match="fell off the bus"):
        sensor.read_at(3.0)
    curve = sample(sensor, [0.02 * i for i in range(200)])
    assert curve.reading(1.0, 2.5).joules == pytest.approx(150, rel=0.02)
    with pytest.raises(SensorError, match="fell off the bus"):
        curve.reading(2.0, 3.5)


def test_nothing_simulated_is_ever_measured():
    assert card().info.provenance is Provenance.SIMULATED
    assert "simulated" in str(watch(card(constant(50)), 3.0).reading(1, 2))


def test_watching_reads_as_the_sampler_does_and_catches_the_ticks():
    curve = watch(card(constant(100), tick_s=0.1), 5.0)
    assert curve.tick_s == pytest.approx(0.1, rel=0.01)
    assert max(curve.lateness[10:]) <= 0.002


@pytest.mark.parametrize(
    ("watts", "prominence_w", "tops"),
    [
        ([1, 5, 1], 3, [5]),
        ([1, 5, 1], 5, []),
        ([1, 5, 4, 6, 1], 2, [6]),
        ([1, 5, 4, 6, 1], 1, [5, 6]),
        ([1, 5, 5, 1], 3, [5]),
        ([5, 1, 5], 3, []),  # at an end nobody knows how it would have gone on
        ([5, 1, 4, 1, 5], 3, [4]),
        ([1, 2, 3], 1, []),
        ([], 1, []),
    ],
)
def test_peaks_stand_out_from_both_sides(watts, prominence_w, tops):
    assert [top for _, top in peaks.peaks(range(len(watts)), watts, prominence_w)] == tops


def test_a_prominence_of_nothing_is_refused():
    with pytest.raises(ValueError, match="more than 0 W"):
        peaks.peaks([0], [1], 0)
