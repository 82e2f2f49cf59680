"""Wrong input of every kind is one sentence, before anything was run or waited for."""

from __future__ import annotations

import math
import time

import pytest
import torch

from greenkit.metering import EnergyMeter, compare, measure
from greenkit.metering.attribution import attribute
from greenkit.metering.ceilings import Ceilings, measure_ceilings
from greenkit.metering.peaks import peaks
from greenkit.metering.replay import Trace
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant, sample, square

NUMBERS = [math.nan, math.inf, -1.0]


def sensor():
    return SimulatedSensor(constant(100), kind=Kind.COUNTER, tick_s=0.0, poll_s=0.005)


def must_not_run():
    raise AssertionError("it was run")


@pytest.fixture
def meter():
    with EnergyMeter([sensor()], sync=False) as opened:
        yield opened


# -- instants ------------------------------------------------------------------------------------

BY_INSTANTS = pytest.mark.parametrize(
    "use",
    [
        lambda m, *at: m.draw("w", *at),
        lambda m, *at: m.between(*at),
        lambda m, *at: m.readings(*at),
    ],
    ids=["draw", "between", "readings"],
)


@BY_INSTANTS
@pytest.mark.parametrize("at", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
def test_a_window_ends_after_it_starts(meter, use, at):
    with pytest.raises(ValueError, match="a window ends after it starts"):
        use(meter, *at)


@BY_INSTANTS
@pytest.mark.parametrize("ahead_s", [1000.0, math.inf])
def test_a_window_of_the_future_is_refused_and_not_waited_for(meter, use, ahead_s):
    with pytest.raises(ValueError, match="a window of the future"):
        use(meter, 0.0, time.perf_counter() + ahead_s)


@BY_INSTANTS
def test_an_instant_is_a_number(meter, use):
    with pytest.raises(TypeError, match="an instant is a number of seconds"):
        use(meter, "0", "1")


# -- comparing and measuring ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seconds", "block_s", "rest_s"])
@pytest.mark.parametrize("number", NUMBERS)
def test_times_of_a_comparison_that_cannot_be_are_refused(meter, name, number):
    with pytest.raises(ValueError, match=name):
        compare({"a": must_not_run}, meter=meter, **{name: number})


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([must_not_run], "a mapping of names to functions"),
        (must_not_run, "a mapping of names to functions"),
        ({1: must_not_run}, "a window has a name"),
        ({"a": 3}, "pass a function that does the work, not 3"),
    ],
)
def test_variants_that_cannot_be_are_refused(meter, variants, said):
    with pytest.raises(TypeError, match=said):
        compare(variants, meter=meter)


@pytest.mark.parametrize("count", [2.5, "3", None, True])
def test_counts_are_whole_numbers(meter, count):
    with pytest.raises(TypeError, match="rounds is a whole number"):
        compare({"a": must_not_run}, meter=meter, rounds=count)
    with pytest.raises(TypeError, match="max_repeats is a whole number"):
        measure(must_not_run, meter=meter, max_repeats=count)
    with pytest.raises(TypeError, match="repeats is a whole number"):
        attribute(torch.nn.Linear(1, 1), must_not_run, meter=meter, repeats=count)


BY_METER = pytest.mark.parametrize(
    "use",
    [
        lambda m: measure(must_not_run, meter=m),
        lambda m: compare({"a": must_not_run}, meter=m),
        lambda m: attribute(torch.nn.Linear(1, 1), must_not_run, meter=m),
    ],
    ids=["measure", "compare", "attribute"],
)


@BY_METER
def test_a_closed_meter_is_refused_before_the_work_runs(use):
    with EnergyMeter([sensor()]) as closed:
        pass
    with pytest.raises(RuntimeError, match="this meter is closed"):
        use(closed)


@BY_METER
def test_what_is_no_meter_is_refused(use):
    with pytest.raises(TypeError, match="meter is an open EnergyMeter, got 5"):
        use(5)


def test_what_is_no_model_is_refused(meter):
    with pytest.raises(TypeError, match=r"looks into a torch.nn.Module, got None"):
        attribute(None, must_not_run, meter=meter)


def test_a_module_without_weights_is_no_stop_iteration(meter):
    with pytest.raises(ValueError, match="the function did not call the model"):
        attribute(torch.nn.Module(), lambda: None, meter=meter)


# -- the report ----------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["many", None, math.nan])
def test_work_that_is_spoilt_later_spoils_no_report(meter, amount):
    with meter.window("w", tokens=3) as window:
        time.sleep(0.01)
    window.work["tokens"] = amount
    assert f"{amount} tokens" in meter.report()
    assert "/token" not in meter.report()


def test_the_report_of_a_meter_that_was_never_opened_names_no_time():
    text = EnergyMeter([sensor()]).report()
    assert "∞" not in text
    assert "not measured" in text


def test_a_pue_is_a_number(meter):
    with pytest.raises(ValueError, match="at least 1; got '2'"):
        meter.report(grid="FRA", pue="2")


# -- ceilings, peaks and traces ------------------------------------------------------------------


def test_a_type_that_torch_lacks_is_refused():
    with pytest.raises(ValueError, match="torch has no type 'float99'"):
        measure_ceilings("cpu", "float99", width=8, megabytes=1)


@pytest.mark.parametrize("work", [(-1, 1), (1, -1), (math.nan, 1)])
def test_work_below_zero_has_no_least_time(work):
    with pytest.raises(ValueError, match="work is 0 or more"):
        Ceilings(1e12, 1e11, "cpu", "float32").bounds(*work)


def test_peaks_want_a_time_for_each_power():
    with pytest.raises(ValueError, match="2 times and 1 powers"):
        peaks([0, 1], [1], prominence_w=1)


def test_a_mark_that_is_not_there_is_named():
    curve = sample(sensor(), [0.01 * i for i in range(100)])
    with pytest.raises(KeyError, match="'a' was marked 1 times, not 4"):
        Trace(curve, {"a": [(0.1, 0.5)]}, "here", "today").window("a", 3)


# -- simulated sensors ---------------------------------------------------------------------------


@pytest.mark.parametrize("watts", NUMBERS)
def test_a_wave_has_watts(watts):
    with pytest.raises(ValueError, match="a wave needs pieces"):
        constant(watts)


@pytest.mark.parametrize("period_s", [*NUMBERS, 0])
def test_a_wave_has_a_period(period_s):
    with pytest.raises(ValueError, match="a wave needs pieces"):
        square(60, 300, period_s=period_s)


@pytest.mark.parametrize("time_s", NUMBERS)
def test_a_wave_begins_at_zero(time_s):
    with pytest.raises(ValueError, match="a wave begins at 0 s"):
        constant(100).energy(time_s)
    with pytest.raises(ValueError, match="a wave begins at 0 s"):
        constant(100).power(time_s)


@pytest.mark.parametrize(
    "settings", [{"tick_s": n} for n in NUMBERS] + [{"gain": -1.0}, {"gain": 0}]
)
def test_a_simulated_sensor_has_a_tick_and_a_gain(settings):
    with pytest.raises(ValueError, match=r"tick_s is 0 s or more, gain above 0"):
        SimulatedSensor(constant(100), **settings)


def test_a_simulated_sensor_looks_at_a_wave():
    with pytest.raises(TypeError, match="looks at a wave"):
        SimulatedSensor(100)
