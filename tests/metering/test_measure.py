"""Repeating until sure: what stops it, what it promises, and what it does not."""

from __future__ import annotations

import threading
import time

import pytest

from greenkit.metering import EnergyMeter, NotMeasuredError, measure
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant


def card(kind=Kind.COUNTER, tick_s=0.0, gain=1.0):
    return SimulatedSensor(constant(100), kind=kind, tick_s=tick_s, gain=gain, poll_s=0.005)


def run(sensor=None, seconds=0.01, **settings):
    with EnergyMeter([sensor or card()]) as meter:
        return measure(lambda: time.sleep(seconds), meter=meter, **settings)


def test_it_stops_when_the_random_part_is_small_enough():
    found = run(rel=0.05)
    assert found.reached
    assert found.stopped_by == "rel=0.05"
    assert found.reading.random <= 0.05 * found.reading.joules
    assert "; stopped by rel=0.05" in str(found)


def test_a_call_shorter_than_a_tick_is_resolved_by_repeats():
    sensor = card(Kind.TICKS, tick_s=0.05)
    found = run(sensor, seconds=0.005, rel=0.05)
    assert found.reached
    assert found.reading.resolved
    assert found.repeats > 10
    span = found.reading.spans[0]
    truth = sensor.truth(span.start_s, span.end_s)
    assert found.reading.low <= truth <= found.reading.high
    assert found.per_call.value == pytest.approx(truth / found.repeats, rel=0.1)


@pytest.mark.parametrize(
    ("cap", "name"),
    [({"max_repeats": 3}, "max_repeats=3"), ({"max_seconds": 0.05}, "max_seconds=0.05")],
)
def test_on_reaching_a_cap_it_says_that_it_is_not_sure(cap, name):
    found = run(card(Kind.TICKS, tick_s=0.2), rel=0.001, **cap)
    assert not found.reached
    assert found.stopped_by == name
    assert f"not sure enough, stopped by {name}" in str(found)


def test_exactly_max_repeats_are_kept():
    assert run(rel=1e-9, max_repeats=4).repeats == 4


def test_the_systematic_part_is_reported_and_not_shrunk_by_repeats():
    few, many = (run(card(gain=1.05), rel=rel, min_repeats=n) for rel, n in ((0.1, 5), (0.02, 30)))
    assert many.repeats > few.repeats
    for found in (few, many):
        assert found.reading.systematic == pytest.approx(0.05 * found.reading.joules)
        assert "systematic part ± 10.0% (repeats do not shrink it)" in str(found)


def test_scatter_of_single_calls_is_told():
    assert run(rel=0.05).scatter < 1
    assert run(max_repeats=1).scatter == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rel": 0}, "between 0 and 1"),
        ({"rel": 5}, "between 0 and 1"),
        ({"max_repeats": 0}, "allow no call"),
        ({"max_seconds": 0}, "allow no call"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        run(**wrong)


def test_without_a_sensor_nothing_is_called_and_it_says_why():
    calls = []
    with EnergyMeter([]) as meter, pytest.raises(NotMeasuredError, match="no sensor"):
        measure(lambda: calls.append(1), meter=meter)
    assert calls == []


def test_without_a_meter_it_opens_and_closes_its_own():
    before = threading.active_count()
    assert measure(lambda: time.sleep(0.01), max_seconds=1).repeats >= 5
    assert threading.active_count() == before


def test_a_call_that_fails_passes_its_error_on():
    with EnergyMeter([card()]) as meter, pytest.raises(ZeroDivisionError):
        measure(lambda: 1 / 0, meter=meter)
