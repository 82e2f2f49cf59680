"""How numbers with an interval are printed, scaled and told apart."""

from __future__ import annotations

import doctest
import math

import pytest

from greenkit.foundations import Quantity, Ratio, quantity
from greenkit.foundations.quantity import format_interval


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(quantity).failed == 0


@pytest.mark.parametrize(
    ("value", "low", "high", "printed"),
    [
        (804.2, 763.0, 845.4, "804 J ± 41"),
        (6.28, 6.0, 6.56, "6.3 J ± 0.3"),
        (6.28, 6.13, 6.43, "6.28 J ± 0.15"),
        (0.0804, 0.0634, 0.0974, "80 mJ ± 17"),
        (1_234_000, 1_200_000, 1_268_000, "1.23 MJ ± 0.03"),
        (0.9996, 0.9896, 1.0096, "1.000 J ± 0.010"),
        (0.99951, 0.9, 1.09902, "1.00 J ± 0.10"),
        (0.0, -1.0, 1.0, "0.0 J ± 1.0"),
        (5.0, 5.0, 5.0, "5 J"),
    ],
)
def test_a_measured_value_prints_with_two_standard_deviations(value, low, high, printed):
    assert format_interval(value, low, high, "J") == printed


@pytest.mark.parametrize(
    ("value", "factor", "printed"),
    [
        (38.2, 2.9, "~38 J (13 to 110)"),
        (0.31, 4.0, "~310 mJ (78 to 1200)"),
        (0.997, 4.0, "~1.0 J (0.25 to 4.0)"),
        (999.0, 4.0, "~1.0 kJ (0.25 to 4.0)"),
        (7e-9, 2.0, "~7.0 nJ (3.5 to 14)"),
    ],
)
def test_an_estimate_prints_two_digits_and_its_range(value, factor, printed):
    shown = format_interval(value, value / factor, value * factor, "J", approximate=True)
    assert shown == printed


@pytest.mark.parametrize(
    ("low", "high", "printed"),
    [
        (31.2, 93.4, "between 31 and 93 J"),
        (0.0, 46.7, "between 0 and 47 J"),
        (0.0, 0.0467, "between 0 and 47 mJ"),
        (12.0, math.inf, "between 12 and ∞ J"),
    ],
)
def test_below_the_resolution_only_bounds_are_printed(low, high, printed):
    middle = (low + min(high, 100.0)) / 2
    assert format_interval(middle, low, high, "J", resolved=False) == printed


def test_scaling_keeps_provenance_and_adds_to_the_label():
    energy = Quantity(7200, 3600, 14400, "J", "estimated", "estimated (a model)", True)
    hours = energy.scaled(1 / 3600, "Wh", "PUE 1")
    assert (hours.value, hours.low, hours.high, hours.unit) == (2, 1, 4, "Wh")
    assert hours.provenance == "estimated"
    assert hours.label == "estimated (a model); PUE 1"
    assert str(hours) == "~2.0 Wh (1.0 to 4.0), estimated (a model); PUE 1"


@pytest.mark.parametrize(
    ("ratio", "margin", "told_apart"),
    [
        ((1.2, 1.11, 1.3), 0.1, True),
        ((1.2, 1.09, 1.3), 0.1, False),
        ((1.2, 1.01, 1.3), 0.0, True),
        ((0.7, 0.6, 0.89), 0.1, True),
        ((0.7, 0.6, 0.91), 0.1, False),
        ((1.0, 0.9, 1.1), 0.0, False),
    ],
)
def test_a_ratio_is_told_from_one_by_its_whole_interval(ratio, margin, told_apart):
    assert Ratio(*ratio, "energy ratio").excludes_one(margin) is told_apart


def test_a_ratio_prints_its_interval_and_what_it_is_a_ratio_of():
    assert str(Ratio(1.978, 1.931, 2.024, "time ratio")) == "1.98× (1.93 to 2.02), time ratio"
    assert Ratio(0.0213, 0.02, 0.0226, "").text == "0.021× (0.020 to 0.023)"
