"""What holds for every load, every sensor and every way of cutting windows (hypothesis)."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import virtual_clock as virtual
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from greenkit.foundations import total
from greenkit.metering.sensor import Kind
from greenkit.metering.simulated import SimulatedSensor, Wave

UNTIL_S = 4.0
FIRST_S, LAST_S = 0.3, 3.5

watts = st.floats(1, 700)
pieces = st.tuples(st.floats(0.01, 1.5), watts, watts)
waves = st.lists(pieces, min_size=1, max_size=4).map(lambda ps: Wave(tuple(ps)))
kinds = st.sampled_from(list(Kind))
instants = st.floats(FIRST_S, LAST_S)

check = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def curve_of(wave, kind, *, gain=1.0):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    card = SimulatedSensor(wave, kind=kind, tick_s=tick_s, gain=gain, clock=lambda: 0.0)
    return virtual.watch(card, UNTIL_S)


@check
@given(waves, kinds, st.lists(instants, min_size=3, max_size=3).map(sorted))
def test_adjacent_windows_add_up(wave, kind, cuts):
    curve = curve_of(wave, kind)
    a, b, c = cuts
    parts = curve.energy(a, b) + curve.energy(b, c)
    assert parts == pytest.approx(curve.energy(a, c), rel=1e-9, abs=1e-9)


@check
@given(waves, kinds, st.lists(instants, min_size=2, max_size=2, unique=True).map(sorted))
def test_energy_never_falls(wave, kind, cuts):
    curve = curve_of(wave, kind)
    assert curve.energy(*cuts) >= -1e-9


@check
@given(waves, kinds, st.lists(instants, min_size=4, max_size=4).map(sorted))
def test_window_around_another_holds_at_least_its_energy(wave, kind, cuts):
    curve = curve_of(wave, kind)
    outer, inner = curve.energy(cuts[0], cuts[3]), curve.energy(cuts[1], cuts[2])
    assert outer >= inner - 1e-9


@check
@given(waves, kinds, st.lists(instants, min_size=2, max_size=12, unique=True).map(sorted))
def test_it_does_not_matter_where_windows_are_cut(wave, kind, cuts):
    curve = curve_of(wave, kind)
    pieces = [curve.energy(a, b) for a, b in pairwise(cuts)]
    assert math.fsum(pieces) == pytest.approx(curve.energy(cuts[0], cuts[-1]), rel=1e-9, abs=1e-9)


@check
@given(waves, kinds, st.lists(instants, min_size=2, max_size=2, unique=True).map(sorted))
def test_window_that_was_settled_does_not_change_when_more_is_read(wave, kind, cuts):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    card = SimulatedSensor(wave, kind=kind, tick_s=tick_s, clock=lambda: 0.0)
    early, late = virtual.watch(card, 2.5), virtual.watch(card, UNTIL_S)
    assume(cuts[1] <= early.settled_s)
    assert early.energy(*cuts) == pytest.approx(late.energy(*cuts), rel=1e-12, abs=1e-12)


@check
@given(waves, st.lists(instants, min_size=2, max_size=2, unique=True).map(sorted))
def test_truth_lies_within_the_hard_bounds_of_a_counter(wave, cuts):
    for kind in (Kind.TICKS, Kind.COUNTER):
        curve = curve_of(wave, kind)
        first, last = (curve.edge(time_s) for time_s in cuts)
        truth = wave.energy(cuts[1]) - wave.energy(cuts[0])
        assert last.low - first.high - 1e-6 <= truth <= last.high - first.low + 1e-6


@check
@given(waves, kinds, st.lists(instants, min_size=3, max_size=3, unique=True).map(sorted))
def test_error_of_a_shared_edge_cancels_in_the_sum(wave, kind, cuts):
    curve = curve_of(wave, kind)
    a, b, c = cuts
    assume(min(b - a, c - b) > 0.2)
    summed, whole = total((curve.reading(a, b), curve.reading(b, c))), curve.reading(a, c)
    edges = {cause for cause, size in summed.errors.items() if cause.kind == "edge" and size}
    assert edges <= {cause for cause in whole.errors if cause.kind == "edge"}
    assert summed.joules == pytest.approx(whole.joules, rel=1e-9)


@check
@given(waves, st.floats(1.01, 1.2), st.lists(instants, min_size=3, max_size=3).map(sorted))
def test_gain_adds_linearly_and_cancels_in_a_ratio(wave, gain, cuts):
    curve = curve_of(wave, Kind.TICKS, gain=gain)
    a, b, c = cuts
    assume(min(b - a, c - b) > 0.21)
    one, two = curve.reading(a, b), curve.reading(b, c)
    assert total((one, two)).systematic == pytest.approx(one.systematic + two.systematic)
    ratio, plain = one.vs(two), curve_of(wave, Kind.TICKS)
    without = plain.reading(a, b).vs(plain.reading(b, c))
    assert ratio.value == pytest.approx(without.value)
    assert ratio.high / ratio.value == pytest.approx(without.high / without.value, rel=1e-6)


@check
@given(waves, kinds, st.integers(0, 10_000))
def test_energy_does_not_depend_on_where_the_clock_starts(wave, kind, origin):
    tick_s = 0.1 if kind is Kind.TICKS else 0.0
    here = SimulatedSensor(wave, kind=kind, tick_s=tick_s, clock=lambda: 0.0)
    one, other = (type(virtual.watch(here, 0.1))(here.info) for _ in range(2))
    for step in range(150):
        value = here.read_at(0.02 * step)
        one.push(0.02 * step, value)
        other.push(0.02 * step + origin, value + (0 if kind is Kind.POWER else 1e6))
    assert other.energy(1 + origin, 2 + origin) == pytest.approx(one.energy(1, 2), rel=1e-5)
