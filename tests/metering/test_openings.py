"""A meter that is opened again, windows that outlive it, and copies of what it found."""

from __future__ import annotations

import copy
import pickle
import time

import pytest

from greenkit.foundations import grid
from greenkit.metering import EnergyMeter, NotMeasuredError, compare, measure
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant

STEP_S = 0.02


def sensor(watts=100.0):
    return SimulatedSensor(constant(watts), kind=Kind.COUNTER, tick_s=0.0, poll_s=0.005)


@pytest.fixture
def twice():
    """A meter that was opened twice, with a window in each opening."""
    meter = EnergyMeter([sensor()])
    for name in ("first", "second"):
        with meter, meter.window(name):
            time.sleep(STEP_S)
        time.sleep(STEP_S)
    return meter


# -- opened twice --------------------------------------------------------------------------------


def test_windows_of_both_openings_have_their_energy(twice):
    for name in ("first", "second"):
        window = twice[name][0]
        assert window.reading.joules == pytest.approx(100 * window.duration_s, rel=0.2)


def test_total_is_the_last_opening(twice):
    assert twice.total.start_s > twice["first"][0].end_s
    assert twice.openings[-1] == twice.total


def test_the_report_has_a_row_for_each_opening_and_their_sum(twice):
    text = twice.report(grid="FRA")
    joules = sum(opening.reading.joules for opening in twice.openings)
    assert "total 1" in text
    (line,) = (line for line in text.splitlines() if line.startswith("total of 2 openings: "))
    assert float(line.split()[4]) == pytest.approx(joules, rel=0.02)


def test_the_carbon_of_the_report_is_that_of_both_openings(twice):
    both = twice.openings[0].reading + twice.openings[1].reading
    assert both.carbon(grid("FRA")).text in twice.report(grid="FRA")


def test_instants_of_an_earlier_opening_can_still_be_read(twice):
    first = twice["first"][0]
    assert twice.between(first.start_s, first.end_s).joules == first.reading.joules
    assert twice.draw("again", first.start_s, first.end_s).reading.joules == first.reading.joules


def test_between_two_openings_nothing_was_measured(twice):
    gap = twice.openings[0].end_s + 0.5 * STEP_S
    with pytest.raises(NotMeasuredError, match="gave no value after this window ended"):
        twice.between(gap, gap + 0.1 * STEP_S)


def test_an_opening_without_a_reading_is_said_in_the_report():
    broken = sensor()
    meter = EnergyMeter([broken])
    with meter:
        time.sleep(STEP_S)
    broken.dies_at_s = 0.0
    with meter:
        time.sleep(STEP_S)
    assert "total: none of all 2 openings together: not measured" in meter.report()


def test_the_report_of_a_decorated_function_says_whose_total_it_is():
    meter = EnergyMeter([sensor()])

    @meter
    def work(name):
        with meter.window(name):
            time.sleep(STEP_S)

    work("one")
    assert "earlier" not in meter.report()
    work("two")
    text = " ".join(meter.report().split())
    assert "the total is that of the last call alone: windows of earlier calls are one" in text


# -- windows that outlive the meter --------------------------------------------------------------


def test_a_window_that_is_open_while_the_meter_closes_is_not_measured():
    with EnergyMeter([sensor()]) as meter:
        window = meter.window("late").__enter__()
    time.sleep(STEP_S)
    window.__exit__()
    with pytest.raises(NotMeasuredError, match="gave no value after this window ended"):
        _ = window.reading
    assert "late: not measured" in " ".join(meter.report().split())


def test_a_window_cannot_end_twice_or_before_it_began():
    with EnergyMeter([sensor()]) as meter:
        window = meter.window("w")
        with pytest.raises(RuntimeError, match="window 'w' is not open"):
            window.__exit__()
        with window:
            pass
        with pytest.raises(RuntimeError, match="window 'w' is not open"):
            window.__exit__()
    assert meter.windows == [window]


def test_a_device_that_fails_at_the_end_of_a_window_still_ends_it(monkeypatch):
    with EnergyMeter([sensor()]) as meter:
        window = meter.window("w").__enter__()
        monkeypatch.setattr(meter, "sync", True)
        monkeypatch.setattr("greenkit.metering.device.synchronize", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            window.__exit__()
        monkeypatch.undo()
    assert meter.windows == [window]
    assert window.reading.joules >= 0


# -- copies and pickles --------------------------------------------------------------------------

COPIES = pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))],
    ids=["copy", "deepcopy", "pickle"],
)


@COPIES
def test_a_window_keeps_its_numbers(twice, duplicate):
    window = twice["first"][0]
    kept = duplicate(window)
    assert kept.look() == window.look()
    assert (kept.name, kept.work, kept.duration_s) == (window.name, window.work, window.duration_s)


@COPIES
def test_a_comparison_keeps_its_numbers(duplicate):
    with EnergyMeter([sensor()]) as meter:
        waits = {name: lambda: time.sleep(0.005) for name in "ab"}
        found = compare(waits, rounds=2, rest_s=0, block_s=0.01, progress=False, meter=meter)
    kept = duplicate(found)
    assert kept.ratio("a", to="b") == found.ratio("a", to="b")
    assert kept.reading("a") == found.reading("a")
    assert kept.seconds("b") == found.seconds("b")


@COPIES
def test_a_measurement_keeps_its_numbers(duplicate):
    with EnergyMeter([sensor()]) as meter:
        found = measure(lambda: time.sleep(0.002), max_repeats=5, meter=meter)
    assert duplicate(found) == found


def test_an_open_window_cannot_be_copied():
    with EnergyMeter([sensor()]) as meter:
        window = meter.window("w").__enter__()
        with pytest.raises(NotMeasuredError, match="window 'w' has not ended yet"):
            pickle.dumps(window)


def test_a_copy_of_a_window_cannot_be_used_again(twice):
    with pytest.raises(RuntimeError, match="used already"):
        copy.copy(twice["first"][0]).__enter__()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_meter_cannot_be_copied(duplicate):
    with pytest.raises(TypeError, match="a meter cannot be copied or pickled; its windows and"):
        duplicate(EnergyMeter([sensor()]))


# -- names and work ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["window", "watch", "draw"])
@pytest.mark.parametrize(
    ("name", "work", "error", "said"),
    [
        (3, {}, TypeError, "a window has a name"),
        ("w", {"tokens": "many"}, TypeError, "the work tokens of window 'w' is a number"),
        ("w", {"tokens": None}, TypeError, "is a number, got None"),
        ("w", {"tokens": -1}, ValueError, "is 0 or more, got -1"),
        ("w", {"tokens": float("nan")}, ValueError, "is 0 or more, got nan"),
        ("w", {"tokens": float("inf")}, ValueError, "is 0 or more, got inf"),
    ],
)
def test_names_and_work_that_cannot_be_are_refused(how, name, work, error, said):
    with EnergyMeter([sensor()]) as meter:
        at = (0.0, 1.0) if how == "draw" else ()
        with pytest.raises(error, match=said):
            getattr(meter, how)(name, *at, **work)


def test_no_tokens_are_no_division_by_zero():
    with EnergyMeter([sensor()]) as meter, meter.window("w", tokens=0) as window:
        time.sleep(STEP_S)
    assert "0 tokens" in meter.report()
    with pytest.raises(ValueError, match="needs a count above 0"):
        window.per("tokens")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_an_idle_baseline_takes_seconds(seconds):
    with EnergyMeter([sensor()]) as meter:
        with pytest.raises(ValueError, match="above 0"):
            meter.idle(seconds)
        assert meter.windows == []


# -- which sensors -------------------------------------------------------------------------------


@pytest.mark.parametrize("sensors", [3, None, sensor()], ids=["number", "None", "one sensor"])
def test_sensors_are_a_list(sensors):
    with pytest.raises(TypeError, match=r"sensors is a list of sensors, even of one: \[sensor\]"):
        EnergyMeter(sensors)


@pytest.mark.parametrize("wrong", ["nvml:0", object(), SimulatedSensor])
def test_what_is_no_sensor_is_named(wrong):
    with pytest.raises(TypeError, match="is no sensor: one has `info`"):
        EnergyMeter([wrong])


# -- the report ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["FRA", "fr", "France"])
def test_a_report_takes_the_country_of_its_grid(twice, code):
    assert "at 56 gCO2e/kWh (France 2023" in twice.report(grid=code)


@pytest.mark.parametrize("pue", [0.5, float("nan"), float("inf")])
def test_a_report_refuses_a_pue_that_cannot_be(twice, pue):
    with pytest.raises(ValueError, match="at least 1"):
        twice.report(grid="FRA", pue=pue)
