"""Readings: what their interval means, what they refuse, and how their errors add."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenkit.foundations import Domain, Grid, Provenance, ProvenanceError, Reading, total
from greenkit.foundations.provenance import ErrorSource, Span

GAIN = ErrorSource("gain", "nvml:0@a card")


def edge(at):
    return ErrorSource("edge", "nvml:0@a card", (at,))


def reading(joules=100.0, start=0.0, end=1.0, **changes):
    """A window of one second on one card: 5 J of gain error, 3 J and 4 J at its edges."""
    fields = {
        "duration_s": end - start,
        "sensor": "nvml:0",
        "device": "a card",
        "domain": Domain.GPU,
        "provenance": Provenance.MEASURED,
        "method": "counter",
        "errors": {GAIN: 0.05 * joules, edge(start): -3.0, edge(end): 4.0},
    } | changes
    span = Span(f"{fields['sensor']}@{fields['device']}", fields["domain"], start, end)
    return Reading(joules, **({"spans": (span,)} | fields))


def estimate(joules=40.0, factor=4.0, **changes):
    changes = {"provenance": Provenance.ESTIMATED, "errors": {}, "factor": factor} | changes
    return reading(joules, sensor="cpu-estimate", domain=Domain.PROCESS, **changes)


# -- one reading -------------------------------------------------------------------------------


def test_interval_is_two_standard_deviations_of_random_and_systematic_together():
    one = reading()
    assert (one.random, one.systematic) == (5.0, 5.0)
    assert one.high - 100 == pytest.approx(100 - one.low)
    assert one.high == pytest.approx(100 + 2 * math.sqrt(5**2 + 5**2))


def test_interval_of_an_estimate_is_its_factor():
    assert (estimate().low, estimate().high) == (10, 160)


def test_below_the_resolution_bounds_replace_the_interval():
    short = reading(bounds=(20.0, 60.0))
    assert not short.resolved
    assert (short.low, short.high) == (10, 70)  # wider by twice the gain's 5 J
    assert str(short).startswith("between 10 and 70 J, measured (")


def test_lower_bound_is_never_below_nothing():
    assert reading(bounds=(2.0, 60.0)).low == 0


@pytest.mark.parametrize("provenance", list(Provenance))
def test_what_is_printed_names_the_provenance(provenance):
    for one in (reading(provenance=provenance), estimate(provenance=provenance)):
        assert provenance.value in str(one)
        assert provenance.value in repr(one)
        for derived in (one.power, one.wh(), one.per(10, "token"), one.carbon(WORLD)):
            assert provenance.value in str(derived)


def test_a_reading_is_no_bare_number():
    with pytest.raises(ProvenanceError, match=r"use \.joules"):
        float(reading())
    for compare in (lambda a, b: a < b, lambda a, b: a >= b):
        with pytest.raises(ProvenanceError, match=r"a\.vs\(b\)"):
            compare(reading(), reading())


def test_power_is_energy_over_time_with_the_same_interval():
    one = reading(end=4.0)
    assert (one.power.value, one.power.unit) == (25, "W")
    assert one.power.high == pytest.approx(one.high / 4)
    with pytest.raises(ValueError, match="no mean power"):
        _ = reading(end=0.0).power


# -- derived quantities ------------------------------------------------------------------------

WORLD = Grid("World", 480.0, 2023, "a source")
WIDE = dataclasses.replace(WORLD, interval=(400.0, 560.0))


def test_energy_per_token_scales_value_and_interval():
    each = reading().per(50, "token")
    assert (each.value, each.unit) == (2, "J/token")
    assert each.low == pytest.approx(reading().low / 50)


@pytest.mark.parametrize("count", [0, -1, math.nan, math.inf])
def test_energy_per_nothing_is_refused(count):
    with pytest.raises(ValueError, match="needs a count above 0"):
        reading().per(count, "token")


def test_carbon_is_energy_times_pue_times_intensity():
    carbon = reading(3.6e6, errors={}).carbon(WORLD, pue=1.5)
    assert (carbon.value, carbon.unit) == (pytest.approx(1.5 * 480), "gCO2e")
    assert "grid uncertainty not included" in str(carbon)
    assert "PUE 1.5" in str(carbon)


def test_uncertainty_of_the_grid_widens_that_of_the_energy():
    plain, wide = (estimate().carbon(grid) for grid in (WORLD, WIDE))
    assert wide.value == plain.value
    assert wide.low < plain.low < plain.high < wide.high
    assert "not included" not in str(wide)


@pytest.mark.parametrize("pue", [0.9, math.nan, math.inf])
def test_a_pue_that_cannot_be_is_refused(pue):
    with pytest.raises(ValueError, match="at least 1"):
        reading().carbon(WORLD, pue=pue)


def test_net_of_idle_says_so_and_may_be_negative():
    net = reading(10.0, note="whole board").above(30.0)
    assert net.joules == -20
    assert net.note == "whole board, net of 30 W idle"
    assert reading(10.0, bounds=(0.0, 20.0)).above(5.0).bounds == (-5, 15)


# -- sums --------------------------------------------------------------------------------------


def test_adjacent_windows_share_an_edge_whose_error_cancels():
    both = reading(start=0, end=1) + reading(
        start=1, end=2, errors={GAIN: 5.0, edge(1.0): -4.0, edge(2.0): 3.0}
    )
    assert (both.joules, both.duration_s) == (200, 2)
    assert both.systematic == 10  # one gain: linear
    assert both.random == pytest.approx(math.hypot(3, 3))


def test_independent_gains_add_in_quadrature():
    other = ErrorSource("gain", "nvml:1@a card")
    both = reading() + reading(sensor="nvml:1", errors={other: 12.0})
    assert both.systematic == 13
    assert both.duration_s == 1


def test_readings_sum_with_pythons_own_sum():
    parts = [reading(start=i, end=i + 1) for i in range(5)]
    assert sum(parts).joules == 500


def test_sum_of_estimates_keeps_the_widest_factor():
    both = estimate(factor=2.9) + estimate(start=1.0, end=2.0, factor=4.0)
    assert both.factor == 4


def test_sum_with_a_part_below_its_resolution_has_bounds():
    both = reading() + reading(start=1.0, end=1.1, bounds=(0.0, 30.0), errors={})
    assert not both.resolved
    assert both.bounds == (pytest.approx(reading().low), pytest.approx(reading().high + 30))


def test_kinds_of_energy_do_not_mix():
    for a, b in itertools.permutations([reading(), estimate()]):
        with pytest.raises(ProvenanceError, match="cannot add estimated and measured energy"):
            total([a, b])


def test_a_replayed_model_and_a_replayed_sensor_do_not_mix():
    recorded = [reading().replayed("x"), estimate().replayed("x")]
    with pytest.raises(ProvenanceError, match="replayed model and replayed sensor"):
        total(recorded)


def test_windows_that_overlap_do_not_add():
    with pytest.raises(ValueError, match="overlapping windows"):
        reading(start=0, end=1) + reading(start=0.5, end=2)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (Domain.MACHINE, Domain.GPU),
        (Domain.MACHINE, Domain.DRAM),
        (Domain.PACKAGE, Domain.PROCESS),
        (Domain.MODULE, Domain.GPU),
        (Domain.MODULE, Domain.PACKAGE),
    ],
)
def test_a_part_does_not_add_to_the_whole_that_contains_it(outer, inner):
    parts = [reading(sensor="outer", domain=outer), reading(sensor="inner", domain=inner)]
    for order in (parts, parts[::-1]):
        with pytest.raises(ValueError, match="some energy would count twice"):
            total(order)


def test_package_and_memory_add():
    both = reading(sensor="a", domain=Domain.PACKAGE) + reading(sensor="b", domain=Domain.DRAM)
    assert (both.joules, both.domain) == (200, Domain.PARTS)


def test_nothing_is_not_zero():
    with pytest.raises(ValueError, match="not the same as 0 J"):
        total([])


@given(st.permutations(range(4)))
def test_order_of_the_parts_does_not_matter(order):
    parts = [reading(10.0 + i, start=i, end=i + 1) for i in range(4)]
    one, other = total(parts), total([parts[i] for i in order])
    assert one.joules == pytest.approx(other.joules)
    assert one.random == pytest.approx(other.random)
    assert one.systematic == pytest.approx(other.systematic)


# -- ratios ------------------------------------------------------------------------------------


def test_gain_cancels_in_the_ratio_of_two_windows():
    ratio = reading(errors={GAIN: 5.0}).vs(reading(50.0, start=2.0, end=3.0, errors={GAIN: 2.5}))
    assert (ratio.value, ratio.low, ratio.high) == (2, pytest.approx(2), pytest.approx(2))


def test_edges_do_not_cancel():
    ratio = reading(errors={edge(0.0): 3.0}).vs(reading(errors={edge(9.0): 4.0}))
    assert ratio.high == pytest.approx(math.exp(2 * math.hypot(0.03, 0.04)))


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_the_inverse_ratio_is_the_inverse(a, b):
    there, back = reading(a).vs(reading(b)), reading(b).vs(reading(a))
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)


@pytest.mark.parametrize(
    "other",
    [estimate(), reading(device="another card"), reading(domain=Domain.MODULE)],
    ids=["provenance", "device", "domain"],
)
def test_what_means_something_else_is_compared_only_on_request(other):
    with pytest.raises(ProvenanceError, match="across=True"):
        reading().vs(other)
    assert reading().vs(other, across=True).value == 100 / other.joules


def test_ratio_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0 J"):
        reading().vs(reading(0.0, errors={}))


def test_ratio_with_a_window_below_its_resolution_follows_from_the_bounds():
    ratio = reading(errors={}).vs(reading(bounds=(20.0, 50.0), errors={}))
    assert (ratio.low, ratio.high) == (2, 5)
    assert reading(errors={}).vs(reading(bounds=(0.0, 50.0), errors={})).high == math.inf


# -- records -----------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [reading(note="x"), estimate(), reading(bounds=(1.0, 2.0))])
def test_a_record_reads_back_with_the_same_interval_and_label(one):
    back = Reading.from_dict(json.loads(json.dumps(one.to_dict())))
    assert (str(back), back.low, back.high) == (str(one), one.low, one.high)
    assert (back.random, back.systematic, back.spans) == (one.random, one.systematic, one.spans)


def test_recorded_readings_of_one_sensor_still_share_its_gain():
    ratio = Reading.from_dict(reading().to_dict()).vs(Reading.from_dict(reading(50.0).to_dict()))
    assert ratio.high == pytest.approx(2 * math.exp(2 * math.hypot(5 / 100, 5 / 50)))


@pytest.mark.parametrize("field", ["joules", "provenance", "sensor", "systematic"])
def test_a_record_without_a_field_names_it(field):
    record = {k: v for k, v in reading().to_dict().items() if k != field}
    with pytest.raises(KeyError, match=field):
        Reading.from_dict(record)


def test_a_record_with_a_wrong_value_is_refused():
    for field, wrong in (("provenance", "guessed"), ("domain", "TOASTER"), ("joules", "12")):
        with pytest.raises(ValueError, match=f"{wrong}|{field}"):
            Reading.from_dict(reading().to_dict() | {field: wrong})


def test_a_replayed_reading_keeps_its_label_and_a_simulated_one_stays_simulated():
    recorded = reading(note="whole board").replayed("a card, 2026-11-24")
    assert recorded.provenance is Provenance.REPLAYED
    assert recorded.note == "measured on a card, 2026-11-24, whole board"
    assert recorded.replayed("elsewhere") == recorded
    simulated = reading(provenance=Provenance.SIMULATED).replayed("x")
    assert simulated.provenance is Provenance.SIMULATED
