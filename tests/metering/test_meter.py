"""The meter: windows, headline readings, sharing, closing, and its report."""

from __future__ import annotations

import gc
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from greenkit.foundations import Domain, Provenance, grid
from greenkit.metering import EnergyMeter, NotMeasuredError
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.meter import Window
from greenkit.metering.sensor import Kind, SensorInfo
from greenkit.metering.simulated import SimulatedSensor, constant, square
from greenkit.metering.window import headline

NEAR = 0.05  # a busy machine may stop the sampler between reading the sensor and the clock


def fresh(watts=100.0, **settings):
    """A simulated counter that is known at every read: no waiting for ticks."""
    values = {"kind": Kind.COUNTER, "tick_s": 0.0, "poll_s": 0.005}
    return SimulatedSensor(constant(watts), **{**values, **settings})


class Fixed:
    """A counter of constant watts under a chosen label."""

    def __init__(self, watts=100.0, **info):
        values = {
            "name": "fixed:0",
            "device": "test bench",
            "domain": Domain.GPU,
            "provenance": Provenance.MEASURED,
            "method": "counter",
            "kind": Kind.COUNTER,
            "poll_s": 0.005,
        }
        self.info = SensorInfo(**{**values, **info})
        self.watts, self.closed = watts, 0

    def read(self):
        return self.watts * time.perf_counter()

    def close(self):
        self.closed += 1


# -- windows -----------------------------------------------------------------------------------


def test_window_holds_the_energy_of_its_block():
    sensor = fresh(100)
    with EnergyMeter([sensor]) as meter, meter.window("work", tokens=10) as window:
        time.sleep(0.1)
    truth = sensor.truth(window.start_s, window.end_s)
    assert window.reading.joules == pytest.approx(truth, rel=NEAR)
    assert window.per("tokens").value == pytest.approx(window.reading.joules / 10)
    assert window.per("tokens").unit == "J/token"


def test_ticking_counter_is_waited_for_on_closing():
    sensor = SimulatedSensor(square(60, 300, period_s=0.37))
    with EnergyMeter([sensor]) as meter, meter.window("work") as window:
        time.sleep(0.4)
    reading = window.reading
    assert reading.low <= sensor.truth(window.start_s, window.end_s) <= reading.high


def test_nested_windows_each_hold_their_own_and_add_up():
    with EnergyMeter([fresh()]) as meter, meter.window("outer") as outer:
        with meter.window("first") as first:
            time.sleep(0.05)
        meter.draw("rest", first.end_s, time.perf_counter())
    rest = meter.draw("rest", first.end_s, outer.end_s)
    before = meter.draw("before", outer.start_s, first.start_s)
    parts = before.reading.joules + first.reading.joules + rest.reading.joules
    assert parts == pytest.approx(outer.reading.joules, rel=1e-9)


def test_overlapping_windows_may_be_read_but_not_added():
    with EnergyMeter([fresh()]) as meter:
        time.sleep(0.1)
        a = meter.draw("a", meter.total.start_s, meter.total.start_s + 0.06)
        b = meter.draw("b", meter.total.start_s + 0.04, meter.total.start_s + 0.1)
        with pytest.raises(ValueError, match="overlapping windows"):
            a.reading + b.reading


def test_repeated_windows_are_found_by_name_and_sum():
    with EnergyMeter([fresh()]) as meter:
        for _ in range(3):
            with meter.window("step"):
                time.sleep(0.02)
    windows = meter["step"]
    assert len(windows) == 3
    whole = sum(window.reading for window in windows)
    assert whole.joules == pytest.approx(sum(w.reading.joules for w in windows))
    with pytest.raises(KeyError, match="no window 'stop'; there are: step"):
        meter["stop"]


def test_windows_of_two_threads_run_side_by_side():
    with EnergyMeter([fresh()]) as meter:

        def work(name):
            with meter.window(name):
                time.sleep(0.05)

        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {window.name for window in meter} == {"a", "b"}


def test_exception_passes_through_and_the_window_is_kept():
    def fail():
        time.sleep(0.02)
        raise KeyError("mine")

    with EnergyMeter([fresh()]) as meter:
        with pytest.raises(KeyError, match="mine"), meter.window("w"):
            fail()
        assert meter["w"][0].reading.joules > 0


def test_window_that_is_open_or_used_twice_says_so():
    with EnergyMeter([fresh()]) as meter:
        window = meter.window("w")
        with pytest.raises(NotMeasuredError, match="'w' has not ended yet"):
            _ = window.reading
        with window:
            pass
        with pytest.raises(RuntimeError, match="was used already"), window:
            pass


def test_work_that_was_not_named_is_refused_by_name():
    with EnergyMeter([fresh()]) as meter, meter.window("w", images=3) as window:
        pass
    with pytest.raises(KeyError, match=r"opened without tokens=…; it knows images"):
        window.per("tokens")


def test_watch_makes_each_call_a_window():
    with EnergyMeter([fresh()]) as meter:

        @meter.watch("step", items=2)
        def step(x):
            return x + 1

        assert [step(1), step(2)] == [2, 3]
    assert [w.work for w in meter["step"]] == [{"items": 2}, {"items": 2}]
    assert step.__name__ == "step"


def test_meter_is_a_decorator_and_total_is_the_last_call():
    meter = EnergyMeter([fresh()])

    @meter
    def work(seconds):
        time.sleep(seconds)
        return "done"

    assert work(0.02) == "done"
    first = meter.total
    assert work(0.06) == "done"
    assert first.duration_s < 0.06 <= meter.total.duration_s
    assert first.reading.joules < meter.total.reading.joules


# -- opening and closing -----------------------------------------------------------------------


def test_closed_meter_opens_no_window_and_an_open_one_does_not_open_again():
    meter = EnergyMeter([fresh()])
    with pytest.raises(RuntimeError, match="this meter is closed"):
        meter.window("w")
    with meter, pytest.raises(RuntimeError, match="already open"):
        meter.__enter__()
    with pytest.raises(RuntimeError, match="this meter is closed"):
        meter.window("w")


def test_closing_twice_is_harmless():
    sensor = fresh()
    with EnergyMeter([sensor]) as other, EnergyMeter([sensor]) as meter:
        meter.__exit__()
        meter.__exit__()
        with other.window("w") as window:
            time.sleep(0.03)
    assert window.reading.joules > 0


def test_reopened_meter_keeps_the_windows_of_its_first_opening():
    meter = EnergyMeter([fresh()])
    with meter, meter.window("first") as first:
        time.sleep(0.02)
    before = first.reading.joules
    with meter, meter.window("second") as second:
        time.sleep(0.02)
    assert first.reading.joules == before
    assert second.reading.joules > 0


def test_two_meters_share_one_sensor_one_thread_and_one_curve():
    sensor = fresh()
    with EnergyMeter([sensor]) as one, EnergyMeter([sensor]) as other:
        assert [t.name for t in threading.enumerate()].count("greenkit-sampler") == 1
        assert one.curves[0] is other.curves[0]


def test_two_meters_that_found_the_same_card_read_it_once():
    first, second = Fixed(), Fixed()
    with EnergyMeter([first]) as one:
        with EnergyMeter([second]) as other:
            assert one.curves[0] is other.curves[0]
            assert second.closed == 1  # not needed: the first one is read
        with one.window("w") as window:
            time.sleep(0.03)
        assert first.closed == 0
    assert first.closed == 1
    assert window.reading.joules == pytest.approx(100 * window.duration_s, rel=NEAR)


def test_sensor_given_twice_is_counted_once():
    sensor = fresh(100)
    with EnergyMeter([sensor, sensor]) as meter, meter.window("w") as window:
        time.sleep(0.03)
    assert window.reading.joules == pytest.approx(100 * window.duration_s, rel=NEAR)


def test_meter_without_any_sensor_measures_nothing_and_says_so():
    with EnergyMeter([]) as meter, meter.window("w") as window:
        pass
    with pytest.raises(NotMeasuredError, match="this meter has no sensor"):
        _ = window.reading
    assert "not measured" in meter.report()


def test_meter_that_was_never_opened_gives_no_total():
    with pytest.raises(NotMeasuredError, match="not ended yet"):
        _ = EnergyMeter([fresh()]).total.reading


def test_unknown_choice_of_sensors_is_refused():
    with pytest.raises(ValueError, match='sensors is "auto", "codecarbon" or a list'):
        EnergyMeter("nvml")
    with pytest.raises(ValueError, match="gpus chooses among the sensors that are found"):
        EnergyMeter([fresh()], gpus=[0])
    with pytest.raises(ValueError, match="gpus chooses among the sensors that are found"):
        EnergyMeter("codecarbon", gpus=[0])


def test_idle_baseline_is_kept_and_reported_beside():
    with EnergyMeter([fresh(60)]) as meter:
        baseline = meter.idle(0.05)
    assert baseline.power_w == pytest.approx(60, rel=NEAR)
    assert "idle: 60 W, simulated, not subtracted" in meter.report()


# -- the headline ------------------------------------------------------------------------------


def measured_window(*sensors):
    with EnergyMeter(sensors) as meter, meter.window("w") as window:
        time.sleep(0.05)
    return window


def test_measured_comes_before_simulated_before_estimated():
    window = measured_window(CpuEstimate(), fresh(), Fixed())
    assert len(window.readings) == 3
    assert window.reading.provenance is Provenance.MEASURED
    assert measured_window(CpuEstimate(), fresh()).reading.provenance is Provenance.SIMULATED
    assert measured_window(CpuEstimate()).reading.provenance is Provenance.ESTIMATED


def test_window_too_short_for_the_sensor_is_not_replaced_by_an_estimate():
    with EnergyMeter([SimulatedSensor(constant(100)), CpuEstimate()]) as meter:
        time.sleep(0.25)
        with meter.window("short") as window:
            pass
    assert window.reading.provenance is Provenance.SIMULATED
    assert not window.reading.resolved


def test_parts_add_up_and_the_whole_machine_is_left_out_of_their_sum():
    whole = Fixed(500, name="battery", domain=Domain.MACHINE)
    cpu = Fixed(80, name="rapl:package-0", domain=Domain.PACKAGE)
    window = measured_window(whole, cpu, Fixed(100))
    assert window.reading.joules == pytest.approx(180 * window.duration_s, rel=NEAR)
    assert window.reading.domain is Domain.PARTS
    assert measured_window(whole).reading.joules > 0


def test_second_opinion_is_not_added_to_the_first():
    opinion = Fixed(
        50, name="codecarbon", domain=Domain.MACHINE, provenance=Provenance.ESTIMATED, factor=2.9
    )
    window = measured_window(CpuEstimate(), opinion)
    assert window.reading.sensor == "cpu-estimate"


def test_sum_from_which_a_sensor_is_missing_says_so():
    readings = measured_window(Fixed()).readings
    reading = headline(readings, ["not measured: nvml:1 stands still during this window"])
    assert "nvml:1 stands still" in reading.label


# -- the device --------------------------------------------------------------------------------


def fake_torch(calls, *, cuda):
    used = SimpleNamespace(
        is_initialized=lambda: cuda,
        device_count=lambda: 3,
        memory_reserved=lambda index: index != 1,
        synchronize=calls.append,
    )
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: not cuda))
    mps = SimpleNamespace(synchronize=lambda: calls.append("mps"))
    return SimpleNamespace(cuda=used, backends=backends, mps=mps)


def broken():
    raise RuntimeError("device-side assert")


def test_device_is_waited_for_at_both_ends_of_a_window(monkeypatch):
    calls = []
    with EnergyMeter([fresh()]) as meter:
        monkeypatch.setitem(sys.modules, "torch", fake_torch(calls, cuda=True))
        with meter.window("w"):
            assert calls == [0, 2]  # the cards that torch uses, and no context on another
        assert calls == [0, 2, 0, 2]
        monkeypatch.delitem(sys.modules, "torch")
    assert len(calls) == 4


def test_device_in_error_does_not_hide_the_exception(monkeypatch):
    torch = fake_torch([], cuda=False)

    def fail():
        torch.mps.synchronize = broken
        raise ValueError("mine")

    with EnergyMeter([fresh()]) as meter:
        monkeypatch.setitem(sys.modules, "torch", torch)
        with pytest.raises(ValueError, match="mine"), meter.window("w"):
            fail()
        monkeypatch.delitem(sys.modules, "torch")


def test_meter_closes_even_when_the_device_fails(monkeypatch):
    torch = fake_torch([], cuda=False)
    meter = EnergyMeter([fresh()]).__enter__()
    torch.mps.synchronize = broken
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(RuntimeError, match="device-side assert"):
        meter.__exit__()
    assert "greenkit-sampler" not in [t.name for t in threading.enumerate()]


def test_half_imported_torch_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    with EnergyMeter([fresh()]) as meter, meter.window("w"):
        pass


# -- live and report ---------------------------------------------------------------------------


def test_power_now_and_peaks_per_sensor():
    sensor = SimulatedSensor(
        square(60, 300, period_s=0.1, duty=0.3), kind=Kind.POWER, tick_s=0.0, poll_s=0.005
    )
    with EnergyMeter([sensor]) as meter:
        time.sleep(0.25)
        assert meter.watts_now()["simulated:0"] in (60, 300)
        found = meter.peaks(prominence_w=100)["simulated:0"]
    assert 1 <= len(found) <= 4
    assert all(watts > 160 for _, watts in found)


def test_report_has_interval_provenance_and_source_in_every_row():
    with EnergyMeter([fresh(), CpuEstimate()]) as meter:
        with meter.window("prefill", tokens=512):
            time.sleep(0.03)
        with meter.window("decode", tokens=128):
            time.sleep(0.03)
    rows = meter.report(grid=grid("FRA"), pue=1.2).splitlines()
    body = rows[2 : 2 + 6]
    assert all("simulated (simulated:0)" in row for row in body[::2])
    assert all("estimated (cpu-estimate)" in row and "~" in row for row in body[1::2])
    text = " ".join(" ".join(rows).split())
    assert "at 56 gCO2e/kWh (France 2023, grid uncertainty not included), PUE 1.2:" in text
    assert "cpu-estimate: estimated, " in text
    assert "W per logical core" in text
    assert "95 % within ×/÷" in text
    peak = re.search(r"peak: (\d+) W at \d+\.\d s, simulated \(simulated:0\)", text)
    assert peak is not None
    assert int(peak[1]) >= 99  # a read that the system delays makes one stretch look steeper
    assert "Wh" in text


def test_report_fits_into_100_columns():
    sensors = [
        Fixed(name="rapl:package-0", domain=Domain.PACKAGE, gain=0.05, device="D" * 60),
        fresh(1e-3),
        CpuEstimate(),
    ]
    with EnergyMeter(sensors) as meter:
        with meter.window("a window with a very long name", tokens=131072):
            time.sleep(0.02)
        with meter.window("short", tokens=3):
            pass
    assert max(map(len, meter.report(grid=grid("DEU")).splitlines())) <= 100


def test_report_tells_what_would_resolve_a_window_that_is_too_short():
    with EnergyMeter([SimulatedSensor(constant(100))]) as meter:
        time.sleep(0.25)
        with meter.window("short"):
            time.sleep(0.02)
    text = " ".join(meter.report().split())
    assert "short: 0.02 s is below the resolution of simulated:0 (0.2 s)" in text
    assert "greenkit.measure(fn, rel=0.05)" in text


def test_report_of_a_running_meter_works():
    with EnergyMeter([fresh()]) as meter, meter.window("w"):
        time.sleep(0.02)
        assert "total" in meter.report()


def test_report_refuses_a_pue_without_a_grid():
    with EnergyMeter([fresh()]) as meter:
        pass
    with pytest.raises(ValueError, match="name a grid"):
        meter.report(pue=1.5)


def test_window_needs_no_meter_argument_in_its_text():
    with EnergyMeter([fresh()]) as meter, meter.window("w", tokens=3) as window:
        pass
    assert repr(window).startswith("Window(name='w', work={'tokens': 3}, start_s=")
    assert isinstance(window, Window)
    del meter
    gc.collect()
    assert window.reading.joules >= 0
