"""The A/B protocol: fair turns, and a ratio whose interval means what it says."""

from __future__ import annotations

import math
import random
import threading
import time

import pytest

from greenkit.foundations import Domain, Provenance, Reading
from greenkit.metering import EnergyMeter, compare
from greenkit.metering.compare import Comparison, _fit, _paired
from greenkit.metering.estimate import CpuEstimate
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, constant
from greenkit.metering.window import Window


def card(kind=Kind.COUNTER, gain=1.0, tick_s=0.0):
    return SimulatedSensor(constant(100), kind=kind, tick_s=tick_s, gain=gain, poll_s=0.005)


def run(variants, sensor=None, **settings):
    with EnergyMeter([sensor or card()]) as meter:
        settings = {"rest_s": 0.0, "block_s": 0.01, "progress": False} | settings
        return compare(variants, meter=meter, **settings)


def waits(seconds):
    return lambda: time.sleep(seconds)


# -- the protocol ------------------------------------------------------------------------------


def turns(seed, rounds=6):
    calls = []
    result = run(
        {name: lambda n=name: (calls.append(n), time.sleep(0.012)) for name in "ABC"},
        rounds=rounds,
        seed=seed,
    )
    assert set(result.calls.values()) == {1}
    return calls


def test_all_are_warmed_up_and_then_sized_before_the_first_round():
    assert turns(seed=0)[:6] == ["A", "B", "C"] * 2


def test_each_round_runs_each_variant_once_in_a_shuffled_order():
    calls = turns(seed=0)[6:]
    rounds = [tuple(calls[i : i + 3]) for i in range(0, len(calls), 3)]
    assert len(rounds) == 6
    assert all(sorted(r) == ["A", "B", "C"] for r in rounds)
    assert len(set(rounds)) > 1


def test_the_order_follows_from_the_seed():
    assert turns(seed=3) == turns(seed=3)
    assert turns(seed=3) != turns(seed=4)


def test_short_calls_repeat_until_they_fill_a_block():
    result = run({"short": waits(0.001), "long": waits(0.03)}, rounds=2, block_s=0.03)
    assert result.calls["long"] == 1
    assert 5 <= result.calls["short"] <= 30


@pytest.mark.parametrize(
    ("each_s", "left_s", "rounds", "block_s"),
    [
        ([0.1, 0.1], 100.0, 10, 1.0),  # ten rounds, and no more
        ([0.1, 0.1], 8.5, 4, 1.0),  # what the sensor wants, in fewer rounds
        ([0.1, 0.1], 5.0, 5, 0.4),  # too short for it: five rounds
        ([3.0, 2.0], 12.0, 2, 0.95),  # single calls, longer than a block
        ([3.0, 2.0], -1.0, 2, 0.0),  # two rounds whatever they take
    ],
)
def test_rounds_and_blocks_fit_in_the_seconds_left(each_s, left_s, rounds, block_s):
    found = _fit(each_s, left_s, 1.0, 0.05)
    assert found == (rounds, pytest.approx(block_s, abs=0.05))


def test_a_budget_of_seconds_is_kept_and_used():
    start = time.perf_counter()
    result = run({"a": waits(0.01), "b": waits(0.03)}, seconds=2.0, block_s=0.2)
    assert 1.2 < time.perf_counter() - start < 2.6
    assert len(result.windows["a"]) == len(result.windows["b"]) in (3, 4)


def test_a_budget_of_no_time_is_refused():
    with pytest.raises(ValueError, match="above 0; got 0"):
        run({"a": waits(0.001)}, seconds=0)


def test_a_variant_that_fails_stops_everything_and_leaves_no_thread():
    before = threading.active_count()

    def fail():
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run({"a": waits(0.001), "b": fail})
    assert threading.active_count() == before


def test_without_a_meter_it_opens_and_closes_its_own():
    before = threading.active_count()
    result = compare({"a": waits(0.01)}, rounds=2, block_s=0.01, progress=False)
    assert len(result.readings["a"]) == 2
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("variants", "settings", "says"),
    [({}, {}, "nothing to compare"), ({"a": print}, {"rounds": 1}, "at least 2 rounds, got 1")],
)
def test_what_cannot_be_compared_is_refused(variants, settings, says):
    with pytest.raises(ValueError, match=says):
        run(variants, **settings)


def test_an_unknown_variant_is_refused_by_name():
    result = run({"a": waits(0.01), "b": waits(0.01)}, rounds=2)
    for ask in (result.reading, result.seconds, lambda n: result.ratio(n, to="a")):
        with pytest.raises(KeyError, match="no variant 'c'; there are: a, b"):
            ask("c")


# -- what the ratio is of ----------------------------------------------------------------------


def test_measured_energy_gives_an_energy_ratio_with_its_provenance():
    ratio = run({"one": waits(0.03), "two": waits(0.06)}).ratio("two", to="one")
    assert ratio.label == "energy ratio, simulated, 5 paired rounds"
    assert ratio.low < ratio.value < ratio.high
    assert 1.5 < ratio.value < 2.5


def test_at_constant_power_energy_and_time_have_the_same_ratio():
    result = run({"one": waits(0.03), "two": waits(0.06)})
    energy, seconds = result.ratio("two", to="one"), result.time_ratio("two", to="one")
    assert energy.value == pytest.approx(seconds.value, rel=0.05)


def test_estimated_energy_gives_a_time_ratio_and_says_so():
    result = run({"a": waits(0.01), "b": waits(0.01)}, sensor=CpuEstimate())
    assert result.estimated
    assert result.ratio("a", to="b").label == "time ratio (energy is only estimated here)"


def test_rounds_below_the_resolution_give_a_time_ratio_and_say_so():
    sensor = card(Kind.TICKS, tick_s=0.1)
    result = run({"a": waits(0.01), "b": waits(0.01)}, sensor=sensor, rounds=2)
    assert result.ratio("a", to="b").label == "time ratio (rounds too short for the sensor)"


# -- the interval ------------------------------------------------------------------------------


def of(ours, theirs, random_j=0.0, gain=0.0):
    """A comparison with these joules per round, all windows one second long."""

    def side(values):
        return tuple(
            Reading(
                joules,
                1.0,
                "nvml:0",
                "a card",
                Domain.GPU,
                Provenance.MEASURED,
                "counter",
                errors={_cause("gain"): gain * joules, _cause(f"edge{i}"): random_j},
            )
            for i, joules in enumerate(values)
        )

    windows = {name: tuple(Window("", {}, None, (), 0.0, 1.0) for _ in ours) for name in "ab"}
    return Comparison(windows, {"a": 1, "b": 1}, {"a": side(ours), "b": side(theirs)})


def _cause(kind):
    from greenkit.foundations.provenance import ErrorSource

    return ErrorSource(kind, "nvml:0@a card")


def test_interval_is_students_t_of_the_paired_logarithms():
    ratio = _paired([2.0, 2.2, 1.8], [1.0, 1.0, 1.0], "")
    logs = [math.log(2.0), math.log(2.2), math.log(1.8)]
    mean = sum(logs) / 3
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / 2)
    t_of_two_degrees = 4.303
    assert ratio.value == pytest.approx(math.exp(mean))
    assert ratio.high == pytest.approx(math.exp(mean + t_of_two_degrees * spread / math.sqrt(3)))


def test_pairing_removes_what_both_sides_of_a_round_share():
    drift = [1.0, 1.5, 0.7, 2.0, 1.2]
    ratio = of([2 * d for d in drift], drift).ratio("a", to="b")
    assert (ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(2))


def test_gain_of_the_sensor_does_not_widen_the_ratio():
    ours, theirs = [10.0, 11.0, 10.5], [5.0, 5.2, 5.1]
    assert of(ours, theirs, gain=0.2).ratio("a", to="b") == of(ours, theirs).ratio("a", to="b")


def test_edges_of_the_sensor_widen_the_ratio_where_rounds_agree_by_chance():
    ratio = of([10.0] * 4, [5.0] * 4, random_j=0.5).ratio("a", to="b")
    assert ratio.high == pytest.approx(2 * math.exp(2 * math.hypot(0.05, 0.1) / math.sqrt(4)))


@pytest.mark.parametrize("rounds", [2, 5, 15])
def test_interval_holds_the_truth_as_often_as_it_says(rounds):
    rng, held, trials = random.Random(0), 0, 2000
    for _ in range(trials):
        theirs = [rng.lognormvariate(0, 0.3) for _ in range(rounds)]
        ours = [1.2 * t * rng.lognormvariate(0, 0.05) for t in theirs]
        ratio = _paired(ours, theirs, "")
        held += ratio.low <= 1.2 <= ratio.high
    assert 0.935 <= held / trials <= 0.965


@pytest.mark.parametrize(
    ("ours", "effect"),
    [([2.0, 2.0], math.inf), ([1.0, 1.0], 0.0), ([0.5, 0.5], -math.inf), ([2.0, 1.0], 2**-0.5)],
)
def test_effect_size_is_the_mean_shift_in_units_of_its_spread(ours, effect):
    assert of(ours, [1.0, 1.0]).effect_size("a", "b") == pytest.approx(effect)
