"""Sensors that break, and clocks that jump: never a silent zero, always a sentence."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest
import virtual_clock as virtual

from greenkit.foundations import Domain, Provenance
from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.sensor import Kind, SensorError, SensorInfo
from greenkit.metering.simulated import SimulatedSensor, constant

INFO = SensorInfo("card", "test bench", Domain.GPU, Provenance.MEASURED, "counter", Kind.TICKS)
COUNTERS = pytest.mark.parametrize("kind", [Kind.TICKS, Kind.COUNTER])
KINDS = pytest.mark.parametrize("kind", list(Kind))


def value_at(kind, time_s, watts=200.0, tick_s=0.1):
    if kind is Kind.POWER:
        return watts
    return watts * (math.floor(time_s / tick_s + 1e-9) * tick_s if kind is Kind.TICKS else time_s)


def read(kind, reads, **settings):
    """A curve of `reads`, each (time s, value or what is wrong)."""
    curve = EnergyCurve(replace(INFO, kind=kind, **settings))
    for time_s, value in reads:
        if isinstance(value, str):
            curve.fail(time_s, value)
        else:
            curve.push(time_s, value)
    return curve


def good(kind, first_s, last_s, offset=0.0, shift_s=0.0):
    steps = range(round(first_s / 0.02), round(last_s / 0.02))
    return [
        (0.02 * i + shift_s, value_at(kind, 0.02 * i) - (0 if kind is Kind.POWER else offset))
        for i in steps
    ]


# -- counters ----------------------------------------------------------------------------------


@COUNTERS
def test_counter_that_stands_still_is_not_zero(kind):
    still = [(0.02 * i, value_at(kind, 2.0)) for i in range(100, 250)]
    curve = read(kind, good(kind, 0, 2) + still, stall_s=1.0)
    with pytest.raises(SensorError, match="not measured: card stands still during this window"):
        curve.reading(2.5, 4.5)
    assert curve.reading(0.5, 1.5).joules == pytest.approx(200, rel=0.1)


@COUNTERS
def test_counter_that_stood_still_for_a_while_is_refused_there_and_only_there(kind):
    still = [(0.02 * i, value_at(kind, 2.0)) for i in range(100, 200)]
    after = [(t, v - 400) for t, v in good(kind, 4, 8)]
    curve = read(kind, good(kind, 0, 2) + still + after, stall_s=1.0)
    with pytest.raises(SensorError, match="stood still"):
        curve.reading(1.0, 6.0)
    assert curve.reading(5, 7).joules == pytest.approx(400, rel=0.1)


@COUNTERS
def test_counter_that_never_moves_gives_no_reading(kind):
    """Even where nothing is known of how long it may rest."""
    curve = read(kind, [(0.02 * i, 5.0) for i in range(500)])
    with pytest.raises(SensorError, match=r"saw no energy|fewer than two values"):
        curve.reading(1.0, 9.0)


def test_simulated_load_of_zero_watts_is_zero():
    """The truth is known there: nothing is silent about it."""
    curve = virtual.watch(virtual.sensor(constant(0), Kind.COUNTER, tick_s=0.0), 5)
    assert curve.reading(1, 4).joules == 0


@COUNTERS
def test_window_over_a_reset_is_refused_and_later_ones_are_right(kind):
    curve = read(kind, good(kind, 0, 2) + good(kind, 2, 6, offset=399))
    with pytest.raises(SensorError, match="the counter of card went backwards"):
        curve.reading(1, 3)
    assert curve.reading(3, 5).joules == pytest.approx(400, rel=0.05)


@KINDS
def test_sensor_that_dies_half_way_gives_what_it_saw_and_refuses_the_rest(kind):
    curve = read(kind, [*good(kind, 0, 4), (4.0, "card fell off the bus")])
    assert curve.reading(1, 3).joules == pytest.approx(400, rel=0.05)
    with pytest.raises(SensorError, match="card fell off the bus"):
        curve.reading(3, 5)


@KINDS
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_value_that_is_no_number_is_a_failure(kind, value):
    curve = read(kind, [*good(kind, 0, 2), (2.0, value), *good(kind, 2.02, 5)])
    with pytest.raises(SensorError, match=r"card returned -?(nan|inf)"):
        curve.reading(1, 3)
    assert curve.reading(3, 4.5).joules == pytest.approx(300, rel=0.1)


def test_negative_watts_are_a_failure():
    curve = read(Kind.POWER, [*good(Kind.POWER, 0, 2), (2.0, -5.0), *good(Kind.POWER, 2.02, 5)])
    with pytest.raises(SensorError, match="card returned -5"):
        curve.reading(1, 3)


def test_power_without_samples_for_more_than_a_second_is_a_gap_and_no_trapezoid():
    curve = read(Kind.POWER, good(Kind.POWER, 0, 2) + good(Kind.POWER, 3.5, 6))
    with pytest.raises(SensorError, match=r"no sample of card for 1.5 s"):
        curve.reading(1, 5)
    assert curve.reading(4, 5).joules == pytest.approx(200)


def test_slow_power_sensor_may_pause_for_ten_of_its_polls():
    curve = read(Kind.POWER, [(0, 10), (5, 10), (50, 10), (55, 10)], poll_s=5.0)
    assert curve.reading(0, 55).joules == pytest.approx(550)


@KINDS
def test_energy_that_was_lost_in_a_gap_is_not_made_up(kind):
    curve = read(kind, [*good(kind, 0, 2), (2.0, "busy"), *good(kind, 3, 6)])
    inside = [(start, start + 0.5) for start in (1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8)]
    for window in inside[2:]:
        with pytest.raises(SensorError, match="busy"):
            curve.reading(*window)
    assert curve.reading(3.3, 5.3).joules == pytest.approx(400, rel=0.05)


# -- clocks ------------------------------------------------------------------------------------


@KINDS
def test_clock_that_jumps_back_makes_all_windows_doubtful(kind):
    curve = read(kind, good(kind, 0, 2) + good(kind, 2, 4, shift_s=-1.0))
    with pytest.raises(SensorError, match="the clock went back by"):
        curve.reading(0.5, 1.5)


@KINDS
def test_clock_that_jumps_forward_is_refused_at_the_jump(kind):
    curve = read(kind, good(kind, 0, 4) + good(kind, 4, 8, shift_s=3600))
    with pytest.raises(SensorError, match=r"not measured: .*card"):
        curve.reading(3, 2000)
    assert curve.reading(1, 3).joules == pytest.approx(400, rel=0.05)


@KINDS
def test_clock_that_stands_adds_nothing(kind):
    reads = [pair for pair in good(kind, 0, 4) for _ in range(3)]
    assert read(kind, reads).reading(1, 3).joules == pytest.approx(400, rel=0.05)


# -- through the meter -------------------------------------------------------------------------


class Broken:
    """A sensor whose read does what the test says."""

    def __init__(self, behave, **settings):
        values = {"provenance": Provenance.SIMULATED, "kind": Kind.COUNTER, "poll_s": 0.01}
        self.info = replace(INFO, **{**values, **settings})
        self._behave, self.closed, self.started_s = behave, 0, time.perf_counter()

    def read(self):
        return self._behave(time.perf_counter() - self.started_s)

    def close(self):
        self.closed += 1


def test_sensor_that_raises_anything_is_a_sentence_and_does_not_stop_the_others():
    def fails(elapsed_s):
        if elapsed_s > 0.03:
            raise ZeroDivisionError("in the driver")
        return 100 * elapsed_s

    good_card = SimulatedSensor(constant(100), kind=Kind.COUNTER, tick_s=0.0, poll_s=0.01)
    with EnergyMeter([Broken(fails), good_card]) as meter, meter.window("w") as window:
        time.sleep(0.1)
    readings, reasons = window.look()
    assert [r.sensor for r in readings] == ["simulated:0"]
    assert reasons == ("not measured: card: ZeroDivisionError: in the driver during this window",)
    assert "ZeroDivisionError" in window.reading.label


def test_meter_whose_only_sensor_fails_says_why():
    def fails(elapsed_s):
        raise SensorError("card needs a permission")

    with EnergyMeter([Broken(fails)]) as meter, meter.window("w") as window:
        pass
    with pytest.raises(NotMeasuredError, match="card needs a permission"):
        _ = window.reading
    assert "not measured" in meter.report()


def test_sensor_that_does_not_answer_holds_up_neither_windows_nor_the_exit():
    release = threading.Event()

    def hangs(elapsed_s):
        if elapsed_s > 0.02:
            release.wait(20)
        return 100 * elapsed_s

    sensor = Broken(hangs)
    meter = EnergyMeter([sensor])
    with meter:
        time.sleep(0.05)  # by now the sampler hangs in it
        start_s = time.perf_counter()
        for _ in range(100):
            with meter.window("w"):
                pass
        marked_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
    left_s = time.perf_counter() - start_s
    release.set()
    assert marked_s < 0.02
    assert left_s < 4
    with pytest.raises(NotMeasuredError, match="gave no value after this window ended"):
        _ = meter["w"][0].reading
