"""The curve against closed forms, and where it refuses to say anything."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import virtual_clock as virtual

from greenkit.foundations import Domain, Provenance
from greenkit.foundations.provenance import ErrorSource
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError, SensorInfo
from greenkit.metering.simulated import constant, ramp, sample, square, steps

INFO = SensorInfo("card", "test bench", Domain.GPU, Provenance.MEASURED, "counter", Kind.COUNTER)


def curve_of(kind, *reads, **settings):
    curve = EnergyCurve(replace(INFO, kind=kind, **settings))
    for time_s, value in reads:
        curve.push(time_s, value)
    return curve


# -- closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
def test_constant_power_gives_watts_times_seconds(kind):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    curve = virtual.watch(virtual.sensor(constant(200), kind, tick_s=tick_s), 20)
    assert curve.energy(3.21, 13.21) == pytest.approx(2000, rel=0.003)


@pytest.mark.parametrize("kind", list(Kind))
def test_ramp_gives_the_area_of_its_trapezoid(kind):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    curve = virtual.watch(virtual.sensor(ramp(0, 1000, period_s=100), kind, tick_s=tick_s), 60)
    assert curve.energy(10, 50) == pytest.approx(40 * (100 + 500) / 2, rel=0.002)


@pytest.mark.parametrize("kind", list(Kind))
def test_whole_periods_of_a_square_wave_give_its_mean(kind):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    curve = virtual.watch(virtual.sensor(square(60, 300, period_s=0.37), kind, tick_s=tick_s), 60)
    assert curve.energy(3.0, 3.0 + 100 * 0.37) == pytest.approx(180 * 37, rel=0.005)


def test_counter_sees_bursts_that_are_shorter_than_its_tick():
    curve = virtual.watch(virtual.sensor(steps((0.01, 500), (0.49, 50))), 60)
    assert curve.energy(5.25, 45.25) == pytest.approx(80 * (5 + 24.5), rel=0.002)


@pytest.mark.parametrize("kind", list(Kind))
def test_plateau_counts_from_its_first_to_its_last_second(kind):
    """Of a plateau most reads repeat: one that drops them loses it (a field bug)."""
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    wave = steps((5, 100), (10, 300), (45, 100))
    curve = virtual.watch(virtual.sensor(wave, kind, tick_s=tick_s), 40)
    assert curve.energy(6, 14) == pytest.approx(8 * 300, rel=0.003)
    assert curve.energy(16, 36) == pytest.approx(20 * 100, rel=0.003)


def test_counter_that_rests_does_not_smear_the_next_energy_over_the_rest():
    curve = virtual.watch(virtual.sensor(steps((5, 300), (5, 0.0), (30, 300))), 20)
    assert curve.energy(5.3, 9.7) == pytest.approx(0, abs=1)
    assert curve.energy(10.3, 12.3) == pytest.approx(600, rel=0.02)


def test_step_of_power_within_a_tick_is_placed_where_its_energy_tells():
    curve = sample(
        virtual.sensor(steps((5.037, 60), (60, 300))), [0.02 * i + 0.011 for i in range(500)]
    )
    assert curve.energy(5.037, 6.037) == pytest.approx(300, rel=0.02)
    assert curve.energy(4.037, 5.037) == pytest.approx(60, rel=0.05)


def test_trapezoid_of_a_few_samples_is_the_one_done_by_hand():
    curve = curve_of(Kind.POWER, (0, 0), (1, 100), (3, 60), poll_s=1.0)
    assert curve.reading(0, 3).joules == pytest.approx(50 + 160)


def test_energy_before_the_first_tick_is_known_from_the_second():
    """A counter that is first read between two ticks: windows may begin at that read."""
    curve = virtual.watch(virtual.sensor(constant(200)), 3, phase_s=0.05)
    assert curve.reading(0.05, 1.05).joules == pytest.approx(200, rel=0.1)


def test_late_reads_keep_the_energy_and_widen_the_interval():
    card = virtual.sensor(constant(200), Kind.COUNTER, tick_s=0.0)
    prompt = sample(card, [0.02 * i for i in range(500)])
    late = sample(card, [0.02 * i for i in range(500) if not 100 < i % 250 < 115])
    assert late.reading(1, 9).joules == pytest.approx(prompt.reading(1, 9).joules)
    square_card = virtual.sensor(square(60, 300, period_s=0.37), Kind.COUNTER, tick_s=0.0)
    prompt, late = (
        sample(square_card, [0.02 * i for i in range(500) if not gap < i % 250 < 115])
        for gap in (115, 100)
    )
    assert late.reading(2.15, 9).random > 3 * prompt.reading(2.15, 9).random


@pytest.mark.parametrize("length_s", [0.03, 0.01])
def test_short_window_on_a_fresh_counter_is_not_nothing(length_s):
    """A floor below which windows count as 0 J loses short calls (a field bug)."""
    curve = virtual.watch(virtual.sensor(constant(200), Kind.COUNTER, tick_s=0.0), 5)
    assert curve.reading(2, 2 + length_s).joules == pytest.approx(200 * length_s, rel=0.01)


# -- uncertainty -------------------------------------------------------------------------------


def test_gain_is_systematic_and_edges_are_random():
    curve = virtual.watch(virtual.sensor(constant(200), gain=1.05), 20)
    reading = curve.reading(3, 13)
    assert reading.systematic == pytest.approx(0.05 * reading.joules)
    assert {cause.kind for cause in reading.errors} == {"gain", "edge"}


def test_gain_is_that_of_the_sensor_and_not_of_one_opening_of_a_meter():
    readings = [EnergyCurve(replace(INFO, gain=0.05), identity=f"opening {i}") for i in range(2)]
    for curve in readings:
        for i in range(200):
            curve.push(0.02 * i, 4.0 * i)
    gains = [{c for c in r.reading(1, 3).errors if c.kind == "gain"} for r in readings]
    assert gains[0] == gains[1] == {ErrorSource("gain", "card@test bench")}


def test_window_below_two_ticks_gives_hard_bounds_and_no_plus_minus():
    wave = square(60, 300, period_s=0.37)
    curve = virtual.watch(virtual.sensor(wave), 20)
    reading = curve.reading(5.0, 5.05)
    assert not reading.resolved
    assert reading.bounds[0] <= wave.energy(5.05) - wave.energy(5.0) <= reading.bounds[1]
    assert "±" not in reading.text
    assert "below resolution (0.05 s < 0.2 s)" in str(reading)


def test_averaged_power_does_not_resolve_less_than_two_averages():
    card = virtual.sensor(constant(200), Kind.POWER, tick_s=0.02, average_s=1.0, poll_s=0.1)
    curve = virtual.watch(card, 20)
    assert not curve.reading(5, 6.9).resolved
    assert curve.reading(5, 7.1).resolved


def test_edge_of_averaged_power_is_uncertain_by_the_step_of_power_it_smears():
    card = virtual.sensor(steps((10, 60), (60, 300)), Kind.POWER, average_s=1.0, poll_s=0.1)
    curve = virtual.watch(card, 30)
    lag = {c.kind: e for c, e in curve.reading(5, 15).errors.items()}["lag"]
    assert lag == pytest.approx((300 - 60) * 0.5, rel=0.01)


def test_estimate_has_no_resolution_only_a_factor():
    curve = curve_of(Kind.COUNTER, *((0.05 * i, i) for i in range(40)), factor=2.9)
    assert curve.reading(1.0, 1.01).resolved


# -- what is refused ---------------------------------------------------------------------------


def test_window_that_ends_before_it_starts_is_refused():
    curve = curve_of(Kind.COUNTER, (0, 0), (1, 10))
    with pytest.raises(ValueError, match="ends after it starts"):
        curve.reading(1.0, 0.5)
    with pytest.raises(ValueError, match="ends after it starts"):
        curve.reading(math.nan, 0.5)


def test_window_of_no_length_has_no_energy_that_anyone_could_mistake():
    curve = virtual.watch(virtual.sensor(constant(200)), 5)
    reading = curve.reading(2.0, 2.0)
    assert (reading.joules, reading.resolved) == (0.0, False)
    assert math.isnan(reading.power_w)


def test_window_before_the_first_read_or_after_the_last_is_refused():
    curve = curve_of(Kind.COUNTER, *((0.02 * i, 4.0 * i) for i in range(100)))
    with pytest.raises(SensorError, match="was not read yet when this window began"):
        curve.reading(-0.1, 1.0)
    with pytest.raises(SensorError, match="gave no value after this window ended"):
        curve.reading(1.0, 2.1)


def test_curve_with_fewer_than_two_values_says_so():
    with pytest.raises(SensorError, match="fewer than two values"):
        curve_of(Kind.COUNTER, (0, 0)).reading(0, 0)


def test_edge_in_a_long_stretch_without_reads_is_refused_but_not_the_window_around_it():
    curve = curve_of(Kind.COUNTER, *((t, 100 * t) for t in (0, 0.02, 0.04, 5.0, 5.02, 5.04)))
    with pytest.raises(SensorError, match=r"was not read for 5 s around an edge"):
        curve.reading(0.01, 2.0)
    assert curve.reading(0.01, 5.03).joules == pytest.approx(502)


# -- the trace ---------------------------------------------------------------------------------


def test_power_of_each_stretch_times_its_length_is_the_energy():
    curve = virtual.watch(virtual.sensor(square(60, 300, period_s=0.37)), 10)
    times, watts = curve.power()
    first = curve.times[0]
    total = sum(w * (b - a) for w, a, b in zip(watts, [first, *times[:-1]], times, strict=True))
    assert total == pytest.approx(curve.joules[-1] - curve.joules[0])


def test_tick_is_probed_and_not_assumed():
    for tick_s in (0.05, 0.1, 0.25):
        curve = virtual.watch(virtual.sensor(constant(200), tick_s=tick_s), 20)
        assert curve.tick_s == pytest.approx(tick_s, rel=0.02)


def test_refresh_of_a_power_sensor_is_probed_from_its_changes():
    card = virtual.sensor(ramp(60, 300, period_s=50), Kind.POWER, tick_s=0.1)
    curve = virtual.watch(card, 20)
    assert curve.tick_s == pytest.approx(0.1, rel=0.05)


def test_sampler_catches_the_tick_when_it_is_due():
    curve = virtual.watch(virtual.sensor(constant(200)), 20)
    assert sorted(curve.lateness)[len(curve.lateness) // 2] <= 0.0016


def test_tick_that_is_faster_than_the_poll_is_not_chased():
    curve = virtual.watch(virtual.sensor(constant(200), tick_s=0.005), 2)
    assert curve.next_read_s(2.0) == pytest.approx(2.02)


def test_power_now_is_unknown_before_two_values_and_while_the_sensor_fails():
    curve = curve_of(Kind.COUNTER, (0, 0))
    assert curve.watts_now is None
    curve.push(0.5, 100)
    assert curve.watts_now == pytest.approx(200)
    curve.fail(0.6, "it broke")
    assert curve.watts_now is None


def test_part_of_a_curve_gives_the_same_windows():
    curve = virtual.watch(virtual.sensor(square(60, 300, period_s=0.37)), 20)
    part = curve.part(8, 12, margin=4)
    assert part.reading(8, 12).joules == pytest.approx(curve.reading(8, 12).joules)
    assert len(part.times) < len(curve.times) / 3
