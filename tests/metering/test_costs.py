"""What the meter itself costs: to import, to start, to mark a window, to run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import pytest

from greenkit.metering import EnergyMeter
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant, square

HEAVY = ("torch", "transformers", "matplotlib", "codecarbon", "pandas", "pynvml")


def tries(measure, count):
    """The median of several tries: the machine may be busy with something else."""
    return statistics.median(measure() for _ in range(count))


def in_a_new_process(program):
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def test_import_takes_less_than_300_ms_and_nothing_heavy():
    program = """
import json, sys, time
start = time.perf_counter()
import greenkit
import greenkit.metering
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""
    results = [in_a_new_process(program) for _ in range(5)]
    assert statistics.median(seconds for seconds, _ in results) <= 0.3
    loaded = {name.partition(".")[0] for name in results[0][1]}
    assert loaded.isdisjoint(HEAVY)


def test_cold_meter_starts_within_20_ms():
    program = """
import json, time
from greenkit.metering import EnergyMeter
from greenkit.metering.simulated import SimulatedSensor, constant
start = time.perf_counter()
meter = EnergyMeter([SimulatedSensor(constant(200))]).__enter__()
seconds = time.perf_counter() - start
print(json.dumps(seconds))
"""
    assert tries(lambda: in_a_new_process(program), 5) <= 0.020


def test_window_costs_less_than_10_microseconds():
    with EnergyMeter([SimulatedSensor(square(60, 300, period_s=0.37))]) as meter:

        def mark():
            start_s = time.perf_counter()
            for _ in range(100):
                with meter.window("w", tokens=1):
                    pass
            return (time.perf_counter() - start_s) / 100

        assert tries(mark, 50) <= 10e-6


def test_reading_of_a_window_of_yesterday_costs_no_more_than_a_millisecond():
    """Looked up in a long curve: by bisection, not by walking through it."""
    sensor = SimulatedSensor(constant(200), kind=Kind.COUNTER, tick_s=0.0, clock=lambda: 0.0)
    with EnergyMeter([sensor]) as meter:
        curve = type(meter.curves[0])(sensor.info)
        for i in range(200_000):
            curve.push(0.02 * i, 4.0 * i)

        def look():
            start_s = time.perf_counter()
            curve.reading(1000.0, 1001.0)
            return time.perf_counter() - start_s

        assert tries(look, 50) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
def test_sampler_costs_less_than_one_percent_of_a_core(kind):
    sensor = SimulatedSensor(
        square(60, 300, period_s=0.37), kind=kind, tick_s=0.1 if kind is Kind.TICKS else 0.0
    )
    with EnergyMeter([sensor]):
        time.sleep(0.3)

        def burden():
            busy_s, start_s = time.process_time(), time.perf_counter()
            time.sleep(2.0)
            return (time.process_time() - busy_s) / (time.perf_counter() - start_s)

        assert min(burden() for _ in range(3)) <= 0.01
