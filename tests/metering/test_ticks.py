"""When a sensor ticks, found by pairs of reads."""

from __future__ import annotations

import math
import random

import pytest

from greenkit.metering.ticks import Ticks


def look(ticks, first_s, second_s, *, period_s=0.1, phase_s=0.03):
    """Two reads of a counter that ticks at `phase_s` and every `period_s`."""

    def number(time_s):
        return math.floor((time_s - phase_s) / period_s)

    ticks.saw(first_s, second_s, changed=number(second_s) > number(first_s))


def test_before_anything_was_seen_nothing_is_known():
    ticks = Ticks(fine_s=0.01)
    assert not ticks.seen(1.0)
    assert not ticks.known(1.0)


@pytest.mark.parametrize("period_s", [0.09996, 0.1, 0.101])
def test_pairs_find_the_tick_and_then_its_period(period_s):
    rng, ticks = random.Random(0), Ticks(fine_s=0.02)
    for i in range(600):
        start_s = 0.05 * i + 0.02 * rng.random()
        look(ticks, start_s, start_s + 0.06 * rng.random(), period_s=period_s)
    assert ticks.lost == 0
    assert ticks.period_s == pytest.approx(period_s, rel=5e-4)
    low_s, high_s = ticks.near(30.0)
    true_s = 0.03 + round((30.0 - 0.03) / period_s) * period_s
    assert low_s <= true_s <= high_s
    assert ticks.known(30.0)


def test_next_and_last_lie_on_either_side_of_an_instant():
    ticks = Ticks(fine_s=0.01, period_s=0.1)
    ticks.saw(0.025, 0.035, changed=True)
    assert ticks.next(0.05)[0] > 0.05
    assert ticks.last(0.05)[1] < 0.05
    assert ticks.next(0.05)[0] - ticks.last(0.05)[0] == pytest.approx(0.1, abs=0.002)


def test_what_is_known_fades_until_nothing_is_seen():
    ticks = Ticks(fine_s=0.01)
    ticks.saw(0.025, 0.030, changed=True)
    assert ticks.known(0.03)
    assert not ticks.known(1.0)
    assert not ticks.seen(10.0)


def test_ticks_that_were_not_there_are_lost_and_found_again():
    ticks = Ticks(fine_s=0.01, period_s=0.1)
    ticks.saw(0.025, 0.035, changed=True)
    ticks.saw(0.17, 0.19, changed=True)
    assert ticks.lost == 1
    low_s, high_s = ticks.near(0.18)
    assert (low_s, high_s) == (0.17, 0.19)


def test_a_period_is_adopted_only_where_it_is_known_better():
    sure, unsure = Ticks(fine_s=0.01), Ticks(fine_s=0.01)
    sure.period_s, sure.drift_s = 0.09996, 1e-5
    unsure.adopt(sure)
    assert unsure.period_s == 0.09996
    sure.adopt(Ticks(fine_s=0.01))
    assert sure.period_s == 0.09996


def test_after_being_lost_no_period_is_adopted():
    sure, lost = Ticks(fine_s=0.01), Ticks(fine_s=0.01, period_s=0.1)
    sure.drift_s = 1e-5
    lost.saw(0.025, 0.035, changed=True)
    lost.saw(0.17, 0.19, changed=True)
    lost.adopt(sure)
    assert lost.period_s == 0.1
