"""Power between two reads of a counter: what samples tell of it, and what the counter adds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenkit.metering.shape import Sample, fit, stretches

watts = st.floats(0, 700)


def whole(samples, start_s=0.0, end_s=1.0, seen_s=0.025):
    return stretches([Sample(*each) for each in samples], start_s, end_s, seen_s)


@given(st.lists(watts, min_size=1, max_size=12), st.floats(0.01, 2000))
def test_stretches_leave_no_hole_and_the_fit_adds_up(values, joules):
    parts = whole([(0.05 + 0.1 * i, watts) for i, watts in enumerate(values)])
    assert parts[0].start_s == 0
    assert parts[-1].end_s == 1
    assert all(a.end_s == b.start_s for a, b in pairwise(parts))
    energies = fit(parts, joules)
    assert sum(energies) == pytest.approx(joules)
    assert min(energies) >= 0


def test_a_step_lies_where_the_counter_says():
    parts = whole([(0.3, 100), (0.4, 300)], end_s=0.7)
    step = [p for p in parts if p.first_w != p.last_w]
    assert [(p.start_s, pytest.approx(p.end_s)) for p in step] == [(0.3, 0.375)]
    energies = fit(parts, 0.32 * 100 + 0.38 * 300)  # it stepped at 0.32 s
    at = parts.index(step[0])
    assert energies[at] == pytest.approx(0.02 * 100 + 0.055 * 300, rel=0.02)


def test_a_sample_between_its_neighbors_saw_the_step():
    parts = whole([(0.3, 100), (0.4, 180), (0.5, 300)], end_s=0.7)
    between = {round(p.start_s, 3): p.mean_w for p in parts}
    assert between[0.3] == 100
    assert between[0.4] == 300


def test_a_stretch_cut_by_an_anchor_is_most_likely_at_the_level_beside_it():
    parts = whole([(0.3, 100), (0.4, 300)], end_s=0.31)
    assert parts[-1].mean_w == pytest.approx(100, rel=0.15)
    parts = whole([(0.3, 100), (0.4, 300)], start_s=0.37)
    assert parts[0].mean_w == pytest.approx(300, rel=0.15)


def test_no_power_at_all_spreads_the_energy_evenly():
    parts = whole([(0.5, 0.0)])
    assert fit(parts, 10.0) == pytest.approx([10 * part.length_s for part in parts])
