"""Values that no device can have drawn: dropped where they are slips, refused where they are not,
and never a reason for the sampler to stop."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import pytest

from greenkit.foundations import Domain, Provenance
from greenkit.metering import EnergyMeter, NotMeasuredError, nvml
from greenkit.metering.curve import EnergyCurve
from greenkit.metering.overhead import Allowance
from greenkit.metering.sampler import sampler
from greenkit.metering.sensor import Kind, SensorError, SensorInfo
from greenkit.metering.slow_counter import SlowCounter

INFO = SensorInfo("card", "test bench", Domain.GPU, Provenance.MEASURED, "sampled", Kind.POWER)
GARBAGE_W = 4294967.295  # 2³² - 1 mW
COUNTERS = pytest.mark.parametrize("kind", [Kind.TICKS, Kind.COUNTER])


def power(wrong, *, until_s=4.0, watts=100.0, value=GARBAGE_W, **settings):
    """A curve of 100 W, read every 20 ms, with `value` at the reads whose numbers are `wrong`."""
    curve = EnergyCurve(replace(INFO, **settings))
    for i in range(round(until_s / 0.02)):
        curve.push(0.02 * i, value if i in wrong else watts)
    return curve


def counter(kind, shown):
    """A curve of a counter at 100 W, read every 20 ms; `shown` maps (number, joules) to joules."""
    curve = EnergyCurve(replace(INFO, kind=kind))
    for i in range(300):
        joules = 1000 + 100 * (math.floor(i / 5 + 1e-9) * 0.1 if kind is Kind.TICKS else 0.02 * i)
        curve.push(0.02 * i, shown(i, joules))
    return curve


# -- power -------------------------------------------------------------------------------------


def test_one_impossible_sample_is_no_sample():
    assert power({70}).reading(0.5, 3.5).joules == pytest.approx(300)


def test_an_impossible_sample_widens_the_interval_of_the_windows_around_it():
    inside, beside = (power({70}).reading(*w) for w in ((1.0, 2.0), (2.0, 3.0)))
    assert inside.random > 1.0 > beside.random


def test_a_window_that_ends_beside_an_impossible_sample_is_as_unsure():
    assert power({70}).reading(0.5, 1.4).random > 1.0


def test_a_window_of_which_many_samples_are_impossible_is_refused_with_the_count_and_the_limit():
    curve = power(set(range(50, 100, 4)))
    with pytest.raises(
        SensorError, match=r"13 of 51 samples of card cannot be: card told 4.29e\+06"
    ):
        curve.reading(1.0, 2.0)
    assert curve.reading(2.5, 3.5).joules == pytest.approx(100)


def test_a_second_and_more_of_impossible_samples_is_a_gap():
    curve = power(range(50, 120))
    with pytest.raises(SensorError, match=r"card told 4.29e\+06 W and can draw 1e\+04 W"):
        curve.reading(0.5, 3.0)
    assert curve.reading(2.6, 3.6).joules == pytest.approx(100)


def test_a_sensor_that_tells_only_impossible_power_is_in_trouble():
    assert "can draw" in power(range(1000)).trouble[1]


def test_a_sensor_that_begins_to_tell_impossible_power_is_in_trouble_after_a_second():
    assert power(range(190, 200)).trouble is None
    assert "can draw" in power(range(100, 200)).trouble[1]


@pytest.mark.parametrize("watts", [1400.0, 1999.0])
def test_a_large_board_is_never_refused(watts):
    assert power((), watts=watts, highest_w=2000).reading(1, 3).joules == pytest.approx(2 * watts)


def test_the_limit_of_a_card_is_a_multiple_of_its_own_and_never_below_2_kw(fake_nvml, monkeypatch):
    import pynvml

    found = {}
    for limit_w in (0.0, 60.0, 400.0, 700.0, 1400.0, 4e6):
        monkeypatch.setattr(
            pynvml,
            "nvmlDeviceGetPowerManagementLimitConstraints",
            lambda handle, watts=limit_w: [1, int(1000 * watts)],
        )
        found[limit_w] = nvml.discover([0]).sensors[0].info.highest_w
    assert found == {0: 2000, 60: 2000, 400: 2000, 700: 2100, 1400: 4200, 4e6: 10_000}


def test_a_card_that_knows_no_limit_may_draw_10_kw(fake_nvml, monkeypatch):
    import pynvml

    def refuse(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerManagementLimitConstraints", refuse)
    assert nvml.discover([0]).sensors[0].info.highest_w == 10_000


# -- counters ----------------------------------------------------------------------------------


@COUNTERS
@pytest.mark.parametrize("wrong_j", [0.0, 4e9, 1e300], ids=["back", "forth", "far"])
def test_one_impossible_read_of_a_counter_costs_nothing(kind, wrong_j):
    curve = counter(kind, lambda i, joules: wrong_j if i == 150 else joules)
    assert curve.reading(1, 5).joules == pytest.approx(400, rel=0.01)


@COUNTERS
def test_a_counter_that_leaps_is_refused_there_and_only_there(kind):
    curve = counter(kind, lambda i, joules: joules + (9e6 if i >= 150 else 0))
    with pytest.raises(SensorError, match=r"counter of card leapt by 9e\+06 J, more than it can"):
        curve.reading(1, 5)
    assert curve.reading(3.5, 5.5).joules == pytest.approx(200, rel=0.01)


@COUNTERS
def test_a_counter_below_zero_is_a_failure(kind):
    curve = counter(kind, lambda i, joules: -5.0 if i == 150 else joules)
    with pytest.raises(SensorError, match="card returned -5"):
        curve.reading(1, 5)


@pytest.mark.parametrize(
    ("joules", "reason"),
    [(math.nan, "card returned nan"), (-1.0, "card returned -1"), (9e9, "leapt by 9e")],
)
def test_a_slow_counter_refuses_what_cannot_be(joules, reason):
    slow = SlowCounter(EnergyCurve(replace(INFO, kind=Kind.TICKS)), Allowance(0.01, 0.0))
    slow.counted(0.0, 0.005, 100.0, 0.005)
    slow.counted(0.5, 0.505, joules, 0.005)
    assert reason in slow.curve.trouble[1]


@pytest.mark.parametrize("watts", [math.nan, -1.0, GARBAGE_W])
def test_a_slow_counter_does_not_look_at_power_that_cannot_be(watts):
    slow = SlowCounter(EnergyCurve(replace(INFO, kind=Kind.TICKS)), Allowance(0.01, 0.0))
    slow.sampled(0.1, 100.0)
    slow.sampled(0.2, watts)
    assert slow.curve.sampled_w == 100.0


# -- sensors of one's own ----------------------------------------------------------------------


class Odd:
    """A sensor that answers as the test says, in turns, and then with the last answer."""

    def __init__(self, *answers, kind=Kind.POWER):
        self.info = replace(INFO, kind=kind, provenance=Provenance.SIMULATED, poll_s=0.005)
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1]))
        self.reads = 0

    def read(self):
        self.reads += 1
        answer = next(self._answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self):
        raise OSError("will not close")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "card returned None, which is no number"),
        ("100 W", "card returned '100 W', which is no number"),
        (True, "card returned True"),
        (math.nan, "card returned nan"),
        (math.inf, "card returned inf"),
        (-3.0, "card returned -3"),
        (SystemExit(2), "card: SystemExit: 2"),
        (KeyError("power"), "card: KeyError: 'power'"),
    ],
)
@pytest.mark.parametrize("kind", list(Kind))
def test_whatever_a_sensor_returns_the_sampler_goes_on_and_says_why(answer, reason, kind):
    sensor = Odd(50.0, answer, kind=kind)
    with EnergyMeter([sensor]) as meter:
        with meter.window("w") as window:
            while sensor.reads < 5:
                time.sleep(0.001)
        assert sampler()._thread.is_alive()
    with pytest.raises(NotMeasuredError) as caught:
        _ = window.reading
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"poll_s": 0}, "poll_s=0"),
        ({"poll_s": math.nan}, "poll_s=nan"),
        ({"gain": -0.1}, "gain"),
        ({"factor": 0.5}, "factor"),
        ({"stall_s": 0.0}, "stall_s"),
        ({"highest_w": math.nan}, "highest_w"),
    ],
)
def test_a_sensor_cannot_say_of_itself_what_cannot_be(settings, name):
    with pytest.raises(ValueError, match=name):
        replace(INFO, **settings)
